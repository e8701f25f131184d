package etcd

import "time"

// SetTiming makes a watcher probe and give up faster than an operator would want, for tests.
func (w *Watcher) SetTiming(probeEvery, staleAfter time.Duration) {
	w.instances.probeEvery, w.instances.staleAfter = probeEvery, staleAfter
	if w.members != nil {
		w.members.probeEvery, w.members.staleAfter = probeEvery, staleAfter
	}
}

// FullReads returns how often everything was read.
func (w *Watcher) FullReads() int64 { return w.instances.fullReads.Load() }

// MemberKey returns the key of the registrar's own member value.
func (r *Registrar) MemberKey() string { return r.memberKey }
