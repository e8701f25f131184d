// Package speed is how fast an endpoint was within a window of time, in few bytes: what workers
// tell of themselves, and frontends compare. It is pure, and links the standard library only.
//
// A [Sample] says how long what an endpoint does took, and what it had to do meanwhile. It draws no
// conclusion: that an endpoint is slow shows beside others alone.
package speed
