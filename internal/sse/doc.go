// Package sse reads what engines stream: server-sent events, and documents that come one a line. It
// is for package canary, which judges a whole answer, and for worker/engine, which reads counters.
//
// Both readers are bounded by what they are made with, hold one buffer each, and never wait for
// bytes beyond the end of a line.
package sse
