package discovery

import "time"

// SetPace makes a watcher poll and give up faster than an operator would want, for tests.
func (w *Watcher) SetPace(poll, silence time.Duration) {
	w.follower.poll, w.follower.silence = poll, silence
	if w.members != nil {
		w.members.poll, w.members.silence = poll, silence
	}
}

// Rereads returns how often everything was read.
func (w *Watcher) Rereads() int64 { return w.follower.rereads.Load() }

// MemberKey returns the key of the registrar's own member value.
func (r *Registrar) MemberKey() string { return r.member }
