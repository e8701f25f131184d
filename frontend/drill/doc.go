// Package drill checks who checks: it breaks a worker that is there for that, and measures how long
// a frontend takes to say so. It is for dynmesh drill.
//
// A [Phantom] is a process with one instance, in the namespace [dynmesh.DrillNamespace], which
// nobody is sent to and which counts for nothing. A [Drill] has one after the other, and each in
// its own way:
//
//	start ──► registered ──► ready, and watched ──► the fault ──► the verdict ──► the end
//	                                                └──────── measured ───────┘
//
// [Process] is a phantom that is a child of this process. Three things end it, whatever becomes of
// the drill: its pipe, which closes with this process; on Linux a signal of the kernel's, which
// also ends one that is stopped; and in the registry its lease.
package drill
