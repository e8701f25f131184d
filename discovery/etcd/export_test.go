package etcd

import "time"

// SetTiming makes a watcher probe and give up faster than an operator would want, for tests.
func (w *Watcher) SetTiming(probeEvery, staleAfter time.Duration) {
	for _, f := range []*follower{w.instances, w.members, w.cards} {
		if f != nil {
			f.probeEvery, f.staleAfter = probeEvery, staleAfter
		}
	}
}

// FullReads returns how often everything was read.
func (w *Watcher) FullReads() int64 { return w.instances.fullReads.Load() }

// MemberKey returns the key of the registrar's own member value.
func (r *Registrar) MemberKey() string { return r.memberKey }
