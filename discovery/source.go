package discovery

import (
	"context"

	"github.com/dynmesh/dynmesh"
)

// Source follows one registry. Each kind of registry has a package of its own under discovery,
// whose constructor checks a configuration and returns a Source that has not connected yet. Package
// sourcetest tests what follows.
//
// # States
//
//	state   | when                              | what is known
//	------- | --------------------------------- | ---------------------------------------
//	syncing | until the first full read         | nothing
//	synced  | the registry can be read          | what the registry holds
//	stale   | it cannot be read, and could once | what it held when it was last heard
//
// That a registry is away is a state and never an error. Since is when the state began; of stale,
// when the registry was last heard. Deletes come while synced only.
//
// # Updates
//
//   - The first update with state synced carries the full set of instances, in one piece. An empty
//     registry is reported, too.
//   - Each later one carries what has changed, and leads from one consistent view to the next. What
//     the registry changes together arrives together.
//   - A key occurs once in an update. A delete may name an instance that was never put.
//   - After an absence come the differences, not the full set again. A source may withhold deletes
//     for a while then, for processes that could not renew what they had registered.
//   - Revision grows with each change of the registry, and is 0 where it has no such number. It
//     goes back only when the registry has lost its history.
//   - Entries that are no instance are left out, and are deletes where they were one before.
//     Rejected lists all of them whenever that list changes.
//   - Members may be read apart from the instances, and come in updates of their own, in any state;
//     a source that has none has read them with its first read. So may model cards.
//
// # Several sources
//
// An update speaks of its own registry alone. [Union] keeps a set, a state and a list of rejects
// for each, and lists an instance for as long as one of them does: the same worker may be
// registered twice while a fleet moves from one registry to another.
type Source interface {
	// Run calls up with each update, in order, never twice at once, and never after it has
	// returned. The next step waits for up. Run returns nil when ctx ends, and an error only for
	// what no waiting mends. It may be called once.
	Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error
}
