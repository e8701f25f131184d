// Package mocker is an inference engine without a model: a stand-in for vLLM in demonstrations and
// in tests.
//
// An [Engine] answers OpenAI-style completion requests with made-up words, at a pace and with the
// faults that its [Knobs] say. The knobs can be turned while it runs, so that a test can break a
// healthy engine and mend it again:
//
//   - [Engine.Generate] has the shape of a worker's handler, for an engine inside the worker's
//     process.
//   - [Server] puts an engine behind HTTP with vLLM's routes and metrics, for one beside it. The
//     knobs are then also at /mock/knobs, on an address of their own, because the fault "refuse"
//     closes the engine's.
//
// Only tests and `dynmesh up` and `dynmesh worker` without a backend use it. It imports nothing of
// dynmesh but words and helpers.
package mocker
