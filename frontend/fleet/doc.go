// Package fleet holds what a frontend knows of instances, and what follows from it. It is for the
// frontend, and for whoever wants to run recorded updates through the same rules: it is pure,
// reads no clock, starts nothing and logs nothing.
//
//	in                          state                       out
//	dynmesh.RegistryUpdate ──┐  processes (members,    ┌──► Registrations: what is registered
//	                         ├─►  observers, workers) ─┤
//	dynmesh.GossipUpdate ────┘  endpoints, instances   └──► Changes: instances, endpoints, members,
//	now ─────────────────────►  deadlines                     Transitions, Watches
//
// Each step is [Fleet.Discover] or [Fleet.Gossip], which file what comes in and mark what it
// concerns, and [Fleet.Reconcile], which has package verdict conclude for what is marked and no
// more. Where time alone is evidence (a worker that stays silent about what the registry lists in
// its name), a deadline marks the instance again: [Fleet.Next].
//
// A [Transition] is the one account of a verdict that changed. Reasons are handed out once and
// stored nowhere, but for the first of each of an instance's last changes.
package fleet
