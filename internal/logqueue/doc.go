// Package logqueue stands between a log and what it is written to, so that writing a line never
// waits and never fails.
//
// A pipe that nobody reads blocks its writer, a full disk refuses it. A program must outlive both,
// so a line goes into a bounded queue, and one goroutine writes. What does not fit, and what cannot
// be written, is dropped and counted. The log says itself where lines are missing, as soon as it
// can be written again.
//
// Commands use it. A library takes a logger and leaves its output to the program.
package logqueue
