// Package arrival tells when the kernel received what a program reads from a TCP connection. A
// program that is starved of CPU reads late, and what it measures by its own clock is its own
// waiting.
//
// Whoever measures answers uses it: package canary. It works on Linux, by TCP_INFO; elsewhere what
// is read has arrived when it is read.
package arrival
