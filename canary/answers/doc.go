// Package answers is what a quality canary asks of an engine, and what is told of its answer: so
// little of it that gossip carries it, and so much that frontends can compare the answers of
// replicas with each other (package frontend/answers). Worker and frontend share it. All of it is
// pure: no clock, no socket, no goroutine.
//
// # What is asked
//
// One of [Prompts], which are the same for everybody, at temperature 0, for [MaxTokens] tokens in
// one piece, with the two likeliest of each where the engine tells them: see [Request]. Most of the
// prompts leave a model hardly any choice, so that answers which differ mean something.
//
// # What is told
//
// A [Sample]: a digest of what answered, the number of the prompt, one byte of each token, the
// tokens at which the engine nearly chose another (a tie, which batches and other GPUs decide
// otherwise, and nobody is wrong), and the mean of the logprobs. [Read] makes one of an answer.
//
// # When
//
// A [Pace] says: while the engine is idle, within a budget of tokens, and more often for a moment
// when the answers change. Under load only what is a thousandth of what the engine writes.
package answers
