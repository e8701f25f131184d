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
// What answers wrongly is found by its peers alone. So it has some, phantoms that stay well, and in
// place of the verdict a remark is waited for: on the one that is wrong, and on no other.
//
// [Process] is a phantom that is a child of this process. Three things end it, whatever becomes of
// the drill: its pipe, which closes with this process; on Linux a signal of the kernel's, which
// also ends one that is stopped; and in the registry its lease.
package drill
