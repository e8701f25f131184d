// Package frontend serves what is registered, in etcd or elsewhere, and what is known of it: for
// people, load balancers and scripts that have to know which instances exist, whether they work,
// why not, and whether this process itself is alive.
//
// A program makes a [Frontend] with [New], which binds the port, and calls [Frontend.Run], which
// serves until its context ends. Any number of frontends may run beside each other; none is in
// charge, and none writes an instance to etcd.
//
// # How it works
//
// The package is wiring. A datum goes through these, in this order:
//
//	sources             a registry's watcher, and the pool where there is one: they tell what changed
//	frontend/fleet      files it, and concludes on the instances that it concerns (frontend/verdict)
//	frontend/cause      says what workers that fail have in common
//	remarks             on instances that work, and differ from their peers in what they measure
//	frontend/snapshot   renders what is new, once, into an immutable snapshot
//	frontend/api        answers requests, streams and scrapes from the newest snapshot
//
// One goroutine, the loop, owns fleet and snapshot. It renders a change at once, unless the last
// rendering ended less than 10 ms ago; what comes within that time is rendered together. Requests
// load one atomic pointer and never wait for it.
//
// # Verdicts
//
// Where time alone is evidence (a worker that stays silent about what is listed in its name), the
// loop looks at the instance again when that is due. Instances whose worker is no member of the
// pool are handed to it to be watched over the network. Without a pool, verdicts rest on the
// registry alone, and /mesh says so. Each change of a verdict is a line of the log; more than ten
// within 250 ms are a line for all that went the same way.
package frontend
