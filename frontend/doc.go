// Package frontend serves what is registered in etcd over HTTP: for people, load balancers and scripts that have to know
// which instances exist and whether this process itself is alive.
//
// A program makes a [Frontend] with [New], which binds the port, and calls [Frontend.Run], which serves until its context
// ends. Any number of frontends may run beside each other; none is in charge, and none writes anything to etcd.
//
// # How it works
//
// Three goroutines form a line, and each one is joined before Run returns:
//
//   - the source (a discovery.Watcher) sends updates;
//   - the registry, the only writer of the state, gathers them, renders the answer once per change (at most once in
//     10 ms) and publishes it as an immutable page through one atomic pointer;
//   - the compressor adds the gzip form to the newest page afterwards, so that compressing never delays a change.
//
// A listing is a sorted sequence of immutable chunks of at most 256 instances, each with its part of the answer. A change
// makes the chunks that it touches anew, and the old page and the new one share the others; so one change costs about as
// much among 100,000 instances as among 1,000. What names a listing (its ETag) is a sum over its instances, which does
// not depend on where chunks begin or on the order in which instances came: frontends that know the same say the same.
//
// A request loads the pointer and writes shared bytes. It takes no lock, copies no body, and never waits for the
// registry: /live goes on answering whatever happens to etcd, to the workers and to the other three.
//
// # What slow clients cost
//
// An answer that is being sent keeps its bytes in memory, also after a newer page has replaced it. Two bounds hold: an
// answer must be read within 30 s, and when clients together pin more than 256 MiB of what is not in the current one, the
// connections that read the oldest ones are closed. Everybody else, and the registry, notices nothing.
//
// # Routes
//
// GET and HEAD only: /live, /health and /metrics (the paths of the first two are settings). Every other path answers
// 404, every other method 405, both in JSON.
package frontend
