package probe

import "github.com/dynmesh/dynmesh"

// failureReports are, for each member, those who say that it cannot be reached. Such a member is to
// watch nobody until that is taken back: when a rack loses its power, whom it watched itself is
// somebody else's at once, and not when memberlist has given up the watchers as well. One voice is
// enough. Where it was wrong, a worker had one watcher more for a while.
type failureReports map[dynmesh.InstanceID]map[dynmesh.InstanceID]struct{}

// set notes what one member says of another, and reports whether that is new.
func (r failureReports) set(subject, by dynmesh.InstanceID, failed bool) bool {
	if _, before := r[subject][by]; before == failed {
		return false
	}
	switch {
	case failed && r[subject] == nil:
		r[subject] = map[dynmesh.InstanceID]struct{}{by: {}}
	case failed:
		r[subject][by] = struct{}{}
	case len(r[subject]) == 1:
		delete(r, subject)
	default:
		delete(r[subject], by)
	}
	return true
}
