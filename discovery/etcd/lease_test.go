package etcd

import (
	"testing"
	"time"
)

// The table is the specification of what a registrar does next.
func TestLeaseNext(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		name  string
		lease lease
		want  action
		until time.Time
	}{
		{"at first, take the lease", lease{missing: 2}, grant, now},
		{"after a failure, wait", lease{retryAt: at(1)}, idle, at(1)},
		{"the wait is over", lease{retryAt: at(0)}, grant, now},
		{"granted, write the keys", lease{granted: true, renewAt: at(3), verifyAt: at(15), missing: 1}, put, now},
		{"a renewal goes before the keys", lease{granted: true, renewAt: at(0), verifyAt: at(15), missing: 1}, renew, now},
		{"all there, rest until the renewal", lease{granted: true, renewAt: at(3), verifyAt: at(15)}, idle, at(3)},
		{"the renewal is due", lease{granted: true, renewAt: at(-1), verifyAt: at(15)}, renew, now},
		{"the check is due", lease{granted: true, renewAt: at(3), verifyAt: at(0)}, verify, now},
		{"in doubt, check at once", lease{granted: true, renewAt: at(3)}, verify, now},
		{"rest until the check", lease{granted: true, renewAt: at(3), verifyAt: at(2)}, idle, at(2)},
		{"a long-expired lease is renewed all the same: only etcd knows", lease{granted: true, expires: at(-60), renewAt: at(-65)}, renew, now},
		{"a failure holds back the renewal too", lease{granted: true, renewAt: at(-1), retryAt: at(1)}, idle, at(1)},
		{"keys that are denied wait", lease{granted: true, renewAt: at(30), verifyAt: at(20), putAt: at(10), missing: 1}, idle, at(10)},
		{"and hold nothing else back", lease{granted: true, renewAt: at(3), verifyAt: at(20), putAt: at(10), missing: 1}, idle, at(3)},
		{"until they are asked for again", lease{granted: true, renewAt: at(3), verifyAt: at(20), putAt: at(0), missing: 1}, put, now},
	} {
		t.Run(tt.name, func(t *testing.T) {
			what, until := tt.lease.next(now)
			if what != tt.want || !until.Equal(tt.until) {
				t.Errorf("next = %v until %v, want %v until %v", what, until, tt.want, tt.until)
			}
		})
	}
}

func TestLeaseRenewedCountsFromTheCall(t *testing.T) {
	sent := time.Unix(1000, 0)
	var l lease
	l.renewed(sent, 9*time.Second)
	if want := sent.Add(9 * time.Second); !l.granted || !l.expires.Equal(want) {
		t.Errorf("granted %v, expires %v, want true, %v", l.granted, l.expires, want)
	}
	if early, late := sent.Add(2700*time.Millisecond), sent.Add(3300*time.Millisecond); l.renewAt.Before(early) || l.renewAt.After(late) {
		t.Errorf("renewAt = %v, want a third of the TTL ± 10 %%", l.renewAt.Sub(sent))
	}
	l.expired(sent)
	if what, until := l.next(sent); what == renew || until.Sub(sent) > regrantSpread {
		t.Errorf("after a loss: %v until %v, want to take it again within %v", what, until, regrantSpread)
	}
}
