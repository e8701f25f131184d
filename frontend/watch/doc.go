// Package watch keeps a file like what a frontend says of who serves, or runs a command for each
// transition: for whatever routes and has no output of its own, such as nginx. It is for dynmesh
// watch.
//
// A [Watcher] asks a frontend again and again, has the policy of package output decide, and acts:
//
//	/mesh ──► output.Policy ──► template ──► check ──► rename ──► exec
//	                       └──► transitions ───────────────────► exec, one each
//
// While the frontend cannot be asked, or has nothing to say yet, the last file stands. So it does
// where the template fails, where nobody would serve, and where the check refuses the new file.
// Commands are run one after the other, each for a bounded time, and joined.
package watch
