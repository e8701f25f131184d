// Package kind has the kinds of requests that a canary can be: one file a kind. It is for workers,
// whose engines serve some of them, and for frontends that send canaries through Dynamo.
//
// A new kind is a file with a function that returns its [Kind], and a line in all.
package kind
