// Package frontend serves what is registered in etcd, and what is known of it, over HTTP: for
// people, load balancers and scripts that have to know which instances exist, whether they work,
// why not, and whether this process itself is alive.
//
// A program makes a [Frontend] with [New], which binds the ports, and calls [Frontend.Run], which
// serves until its context ends. Any number of frontends may run beside each other. None is in
// charge, and none writes an instance to etcd.
//
// # The line
//
// This package is the wiring. What happens stands in the packages below it:
//
//	etcd.Watcher ─┐                                               ┌─► log (transitions)
//	              ├─► loop: fleet.Fleet ─► snapshot.Builder ──────┤
//	[Pool] ───────┘        ▲ verdict         one goroutine        └─► api.Server: newest Snapshot
//
// Who does what:
//
//   - The sources tell what has changed, each in a goroutine of its own.
//   - The loop owns all state. It files what has come in, concludes, renders each change once (at
//     most once in 10 ms), and publishes an immutable snapshot.
//   - The server answers from the newest snapshot, whatever happens to the rest of the line.
//
// What etcd lists is published before verdicts are found where there is much to conclude: /health
// does not wait for /mesh.
//
// # Gossip
//
// Instances whose worker is no member of the pool are handed to it to be watched over the network.
// Without a pool, verdicts rest on etcd alone, and /mesh says so.
//
// # Log
//
// Each change of a verdict is a line; more than ten within 250 ms are a line for all that went
// the same way.
package frontend
