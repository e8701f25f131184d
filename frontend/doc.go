// Package frontend serves what is registered in etcd, and what is known of it, over HTTP: for people, load balancers and
// scripts that have to know which instances exist, whether they work, why not, and whether this process itself is alive.
//
// A program makes a [Frontend] with [New], which binds the port, and calls [Frontend.Run], which serves until its context
// ends. Any number of frontends may run beside each other; none is in charge, and none writes an instance to etcd.
//
// # How it works
//
// These goroutines form a line, and each one is joined before Run returns:
//
//   - the sources (an etcd.Watcher; and a [Pool], if there is one) tell what has changed;
//   - the registry, the only writer of the state, gathers that, renders the answers once per change (at most once in
//     10 ms) and publishes them as an immutable page through one atomic pointer;
//   - two compressors add the gzip forms to the newest page afterwards, so that compressing never delays a change.
//
// A page holds the listing of what is registered, and the view of the mesh: what else is known. A listing is a sorted
// sequence of immutable chunks of at most 256 instances, each with its part of the answer. A change makes the chunks that
// it touches anew, and the old page and the new one share the others; so one change costs about as much among 100,000
// instances as among 1,000. What names a listing (its ETag) is a sum over its instances, which does not depend on where
// chunks begin or on the order in which instances came: frontends that know the same say the same.
//
// A request loads the pointer and writes shared bytes. It takes no lock, copies no body, and never waits for the
// registry: /live goes on answering whatever happens to etcd, to the workers and to the rest of the line.
//
// # The mesh
//
// What comes in is filed by process: what etcd and gossip know of it, what it says of its instances, what others say of
// it. That marks the instances which it concerns, and package verdict concludes anew for these and no others; where time
// alone is evidence (a worker that stays silent about what etcd lists in its name), an agenda has the instance looked at
// again. The view has chunks as the listing has, in one sequence for each endpoint and one for the members. A view is one
// process's: its ETag is this process's epoch and the page's version.
//
// Instances whose worker is no member of the pool are handed to it to be watched over the network. Without a pool, verdicts
// rest on etcd alone, and /mesh says so.
//
// Each change of a verdict is a line of the log; more than ten within 250 ms are a line for all that went the same way.
//
// # What slow clients cost
//
// An answer that is being sent keeps its bytes in memory, also after a newer page has replaced it. Two bounds hold: an
// answer must be read within 30 s, and when clients together pin more than 256 MiB of what is not in the current one, the
// connections that read the oldest ones are closed. Everybody else, and the registry, notices nothing.
//
// # Those who listen
//
// A feed compares the view that listeners know with the newest one, at most ten times a second, and renders what differs
// once, whoever listens; when nobody does, it does nothing. What is rendered is held in a ring, bounded in bytes, from
// which each stream of /events takes what it has not sent yet: there is no queue for a client, and one that is behind the
// ring is told to begin anew. The server hands such connections over, so a stream is one goroutine that writes shared bytes
// to the socket; it ends with the connection, which Run waits for. Streams end first at a shutdown.
//
// # Routes
//
// GET and HEAD only: /live, /health (their paths are settings), /ready, /metrics, /sd/prometheus, /events (docs/events.md) and
// /mesh, with less in it at /mesh/{namespace}.{component}.{endpoint} and …/{instance id}; and the page of package web at /.
// Every other path answers 404, every other method 405, both in JSON. grpc.health.v1 has a port of its own, if it is wanted.
// All of them tell the state of one page, whose version /mesh and /events show.
package frontend
