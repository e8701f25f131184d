// Package kind has the kinds of requests that a canary can be: one file a kind. It is for package
// engine, whose engines serve some of them, and for the sidecar.
//
// A new kind is a file with a function that returns its [Kind], and a line in all.
package kind
