package etcd

import (
	"context"
	"time"
)

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

// RotateKeysFaster is RotateKeys whose steps stand for as long as settle at least.
func RotateKeysFaster(ctx context.Context, cfg Config, within, settle time.Duration, say func(string)) error {
	return rotateKeys(ctx, cfg, within, settle, say)
}
