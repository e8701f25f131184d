// Package canary finds out whether endpoints complete requests, and says why it believes so.
// Programs that serve inference use it through package worker; it can be used alone, too.
//
// A canary is a minimal real request. A [Monitor] sends one when an endpoint has been idle for a
// while, right after the endpoint begins to be served, and sooner again after a failure. Real
// requests make canaries needless: each chunk and each answer that is complete is proof in itself.
// The rules are in the table of package schedule's TestSchedule, one case each; in short:
//
//   - Busy is not dead. While requests are in flight, and something has moved within the stall
//     budget, no canary is sent, and one that times out in line behind them says nothing. An error
//     is an error all the same.
//   - Stalled is not busy. When nothing has moved for most of the budget, a canary settles whether
//     it is the endpoint that hangs, or only the requests; where it gets no answer either, the
//     endpoint is not ready. (One that nobody can ask stays ready, and is said to be stalled.) The
//     budget is learned: see Config.Stall.
//   - Real requests count. One that is answered is proof; three in a row that fail make the
//     endpoint not ready, whatever canaries say.
//   - Signs are followed at once: see Monitor.Suspect.
//   - The time in which this process was kept from running is nobody's.
//   - One canary at a time, with a deadline over the whole answer. A probe that does not end counts
//     as timed out, and no other begins before it has.
//   - An endpoint that is served anew begins anew, and no canary of before has a say.
//   - Maintenance holds canaries back, and stops the clocks of deadlines and stalls; nothing else.
//   - What is refused for want of room is busy. What says that it sleeps is not asked: it is ready,
//     and unchecked.
//   - An engine that starts may take its time: its first answer has a timeout of its own.
//
// # Probes
//
// A [Probe] is one func(ctx) error. [Handler] asks an endpoint of this process, [HTTP] one behind a
// URL, whose streamed answer it judges to the end. [Check] runs a probe once and measures it.
//
// # Canaries and real requests
//
// The monitor must not take its own canaries for traffic: a canary that yields one token and
// freezes would prove, by that token, that the endpoint works. There are two ways, and each
// endpoint has to go one of them:
//
//   - Activity does not see canaries. [Handler] calls the handler itself, past the worker that
//     counts its requests, and a sidecar's canary goes to the engine itself, past the proxy that
//     counts. This is exact.
//   - Activity sees them, because it reads the engine's own counters. With Endpoint.CountsCanaries,
//     one request in flight and all progress are the canary's for as long as one is under way and 2
//     s more. This is safe: at worst, a proof is missed that the next request brings again.
//
// # How it works
//
// The schedule of an endpoint is a pure function of (state, event, now), in package schedule. One
// goroutine owns the schedules of all endpoints, sleeps until the first of them has something due,
// and looks at their counters four times a second. Each canary has a goroutine, which is joined
// when it ends. Callers leave messages and never wait.
package canary
