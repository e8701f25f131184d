package discovery

import (
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/dynmesh/dynmesh"
)

// membersStep hands on what happened in the bucket of members.
func (w *Watcher) membersStep(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.membersLost {
		w.membersLost = false
		w.log.Info("Members can be read again")
	}
	first := !w.membersRead
	w.membersRead = true
	var u dynmesh.RegistryUpdate
	u.Members, u.MembersGone, u.Rejected = sift(w, s, w.badMembers, DecodeMember, parseMemberKey)
	if len(u.Members) > 0 || len(u.MembersGone) > 0 || u.Rejected != nil || first {
		w.publish(u)
	}
}

// membersStale notes that members cannot be read. That is worth a line of its own only where the instances can.
func (w *Watcher) membersStale(heard time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	denied := errors.Is(why, rpctypes.ErrPermissionDenied)
	if w.membersLost || w.state != dynmesh.Synced || time.Since(heard) < 2*w.members.silence && !denied {
		return // the registry as a whole may be about to go stale
	}
	w.membersLost = true
	w.log.WithField("key", membersPrefix).WithField("err", why).
		Warn("Members cannot be read, though instances can: what they say of themselves is unknown, or as old as this")
}
