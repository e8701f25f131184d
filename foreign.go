package dynmesh

// Foreign says where a worker that is no member of the mesh is watched over the network. It is
// comparable, and its zero value says that it is not to be watched.
type Foreign struct {
	Addr string // host:port of its requests; empty: it is not to be watched

	// Idle says that a connection to Addr on which nothing is said costs the worker nothing. Where
	// each connection has a thread of its own, it may cost another client its turn.
	Idle bool

	System string // host:port of its system port, where it answers HTTP; empty: not known
}
