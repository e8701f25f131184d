// Package budget bounds what outsiders can make this process hold, all of them together, by a share
// of its memory. It is for whatever reads what strangers, peers and engines send.
//
// A bound on each of many buffers is no bound: a thousand of them are a thousand times as large. So
// those of one kind take their bytes from one [Budget] as they grow, each by a [Claim] of its own.
// What it may hold is a [Share] of the memory that Go's runtime is limited to, so that all budgets
// together fit.
//
// Where there is no room, the address that holds most makes some: the oldest of its claims that are
// not whole yet is revoked. Those who mean well are done within a moment, and hold little; so one
// that sends slowly, or much, cannot keep the others out.
package budget
