// Package engine knows the inference engines that a sidecar can stand in front of: one file an
// engine. It is for the sidecar, and for programs that send an engine's canary.
//
// A new engine is a file with a function that returns its [Engine], and a line in all. What the
// engine's file says:
//
//	| field                | question                                                             |
//	| owner, counter, isIt | How is it told from others?                                          |
//	| Ready, ListsModels   | Which route answers once the engine serves, and with which models?   |
//	| Health               | Which route is cheap to ask, and answers 503 once it is dead?        |
//	| kinds, serves        | Which kinds of requests does it serve, in which form?                |
//	| errorIn              | Which form of an error within an answer is its own?                  |
//	| rests                | Does it sleep, or unload its model?                                  |
//	| Counters             | Where are its Prometheus counters, and what does each of them count? |
//
// What is common to engines is elsewhere: the kinds of requests and of their answers in package
// kind, the forms of errors that they copy from each other in package canary.
package engine
