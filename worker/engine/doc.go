// Package engine knows the inference engines that a sidecar can stand in front of: one file an
// engine. It is for the sidecar, and for programs that send an engine's canary.
//
// A new engine is a file with a function that returns its [Engine], and a line in all. What the
// engine's file says:
//
//	| field      | question                                                             |
//	| Ready      | Which route answers once the engine serves?                          |
//	| canary     | What is the smallest real request?                                   |
//	| route      | Where does a request go, judged by its fields?                       |
//	| EndsInDone | Do its streams end with [DONE], so that one that broke off is known? |
//	| Counters   | Where are its Prometheus counters, and what does each of them count? |
//
// How engines put errors into their answers is read by package canary, for all of them alike: they
// copy each other's forms, and handlers in a worker's process pass on what any engine said.
package engine
