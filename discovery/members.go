package discovery

import (
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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
	var u Update
	junk := false
	for _, kv := range s.puts {
		key := string(kv.Key)
		member, err := DecodeMember(key, kv.Value)
		if err != nil {
			junk = w.reject(w.badMembers, key, err, "Registry entry is not a dynmesh member and is left out until it changes") || junk
			u.MembersGone = appendMember(u.MembersGone, key) // it may have been good before, and is spoilt now
			continue
		}
		junk = w.badMembers.remove(key) || junk
		u.Members = append(u.Members, member)
	}
	for _, key := range s.deletes {
		junk = w.badMembers.remove(key) || junk
		u.MembersGone = appendMember(u.MembersGone, key)
	}
	if junk {
		u.Rejected = w.showRejects()
	}
	if len(u.Members) > 0 || len(u.MembersGone) > 0 || junk || first {
		w.publish(u)
	}
}

// membersStale notes that members cannot be read. That is worth a line of its own only where the instances can.
func (w *Watcher) membersStale(heard time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	denied := errors.Is(why, rpctypes.ErrPermissionDenied)
	if w.membersLost || w.state != Synced || time.Since(heard) < 2*w.members.silence && !denied {
		return // the registry as a whole may be about to go stale
	}
	w.membersLost = true
	w.log.WithField("key", membersPrefix).WithField("err", why).
		Warn("Members cannot be read, though instances can: what they say of themselves is unknown, or as old as this")
}

// appendMember appends the member that key names, if it names one.
func appendMember(ids []InstanceID, key string) []InstanceID {
	if id, err := parseMemberKey(key); err == nil {
		return append(ids, id)
	}
	return ids
}
