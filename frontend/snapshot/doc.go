// Package snapshot renders what a frontend answers. It is for the frontend alone: its loop has one
// [Builder] render each change of the fleet once, and package api serves the newest [Snapshot].
//
// # Immutable, and shared
//
// A snapshot never changes. It holds four lists: what is registered (/health), the instances of
// each endpoint and the members (/mesh), and the scrape targets (/sd/prometheus). Each is a sorted
// sequence of immutable chunks with their part of the answer. A change makes the chunks that it
// touches anew, and the old snapshot and the new one share the others; so one change costs about as
// much among 100,000 instances as among 1,000, and an answer is written from shared bytes.
//
// # Tags
//
// The ETag of /health is a sum over its instances, which does not depend on where chunks begin or
// on the order in which instances came: frontends that know the same say the same. /mesh is one
// process's: its ETag is this process's epoch and the snapshot's version.
package snapshot
