// Package client asks a frontend over HTTP, and waits until a fleet is as expected. It is for
// commands and scripts, and for Go programs that do the same.
//
// What answers may be anything: a frontend that just restarts, a proxy with a page of its own,
// another program on the same port. So each question has a bound in time and one in size, what
// comes back is checked before it is believed, and each ending is an error in one line, fit for a
// terminal. A [Client] may be used from several goroutines.
package client
