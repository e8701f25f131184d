// Package sidecar stands in front of an inference engine that knows nothing of dynmesh: one of
// those that package engine knows, or any server with OpenAI's API. It is for programs that make
// such an engine a worker's endpoint, as `dynmesh worker --backend` does; the worker itself does
// not know it.
//
// A [Sidecar] has what a worker's endpoint is made of:
//
//   - [Sidecar.Probe] is its canary: it asks the engine itself, past the worker, so that the
//     worker's counters see real requests only.
//   - [Sidecar.Activity] adds what the engine's own counters say to what the worker counts: that it
//     moves, and traffic that reaches it by other ways.
//   - [Sidecar.Answered] tells when the engine has answered for the first time, which is when its
//     endpoint may be registered.
//   - [Sidecar.Run] waits for the engine, finds its model's name, and goes on watching. It ends
//     with its context only: an engine that is away is a fact to report, and no reason to exit.
//
// Whether the endpoint is ready is for the canary alone to say. The engine may come up long after
// the sidecar, go away and come back with another model: until a canary passes, the endpoint is not
// ready.
//
// Requests do not pass through here: worker/proxy passes them on.
package sidecar
