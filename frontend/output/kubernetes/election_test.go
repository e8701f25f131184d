package kubernetes

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/apiserver"
)

// A candidate goes by when a Lease has changed, and not by what times stand in it.
func TestCandidate(t *testing.T) {
	now := time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC)
	c := candidate{identity: "a"}
	may := func(want bool, what string) {
		t.Helper()
		if got := c.mayTake(0, now); got != want {
			t.Errorf("%s: may take it = %v, want %v", what, got, want)
		}
	}
	of := func(holder string, seconds int, renewed string) lease {
		return lease{Spec: leaseSpec{HolderIdentity: holder, LeaseDurationSeconds: seconds, AcquireTime: "then", RenewTime: renewed, LeaseTransitions: 3}}
	}
	c.see(lease{}, now)
	may(true, "there is none")
	c.see(of("b", 15, "1970"), now)
	may(false, "another one's, of a time long ago")
	now = now.Add(14 * time.Second)
	c.see(of("b", 15, "1970"), now)
	may(false, "unchanged for 14 s of 15")
	c.see(of("b", 15, "1971"), now)
	now = now.Add(14 * time.Second)
	may(false, "renewed 14 s ago")
	now = now.Add(time.Second)
	may(true, "unchanged for 15 s")
	if c.mayTake(standBack, now.Add(standBack-1)) || !c.mayTake(standBack, now.Add(standBack)) {
		t.Error("one that has nothing to write takes it at another time than 5 s later")
	}
	took := c.taken(now)
	if took.Spec != (leaseSpec{"a", 10, "2026-11-29T06:00:29.000000Z", "2026-11-29T06:00:29.000000Z", 4}) {
		t.Errorf("taken: %+v", took.Spec)
	}
	c.see(took, now)
	now = now.Add(time.Minute)
	may(true, "its own")
	if !c.mayTake(standBack, now) {
		t.Error("its own is not its own where it has nothing to write")
	}
	if again := c.taken(now); again.Spec.LeaseTransitions != 4 || again.Spec.AcquireTime != took.Spec.AcquireTime || again.Spec.RenewTime == took.Spec.RenewTime {
		t.Errorf("renewed: %+v", again.Spec)
	}
	raw, err := json.Marshal(leaseObject(c.given(now)))
	if err != nil || strings.Contains(string(raw), "holderIdentity") || !strings.Contains(string(raw), `"leaseDurationSeconds":1`) {
		t.Errorf("given back: %s", raw)
	}
	c.see(of("", 1, "now"), now)
	may(true, "nobody's")
}

// Who has not renewed the Lease for a while writes no longer, before others begin.
func TestLeads(t *testing.T) {
	e := newElection(nil, "prod", "dynmesh", "a", discard())
	e.candidate.see(lease{Spec: leaseSpec{HolderIdentity: "a"}}, time.Now())
	now := time.Now()
	e.conclude(now, nil)
	for after, want := range map[time.Duration]bool{0: true, leadFor - time.Millisecond: true, leadFor: false} {
		if got := e.leads(now.Add(after)); got != want {
			t.Errorf("%v after its renewal it leads = %v", after, got)
		}
	}
	if leadFor+leaseTimeout > leaseFor {
		t.Error("a renewal that is late is one that somebody else has overtaken")
	}
	e.candidate.see(lease{Spec: leaseSpec{HolderIdentity: "b"}}, time.Now())
	e.conclude(now, nil)
	if e.leads(now) {
		t.Error("it leads though the Lease is another one's")
	}
}

// What waits because the lead was over is looked at once it is renewed, though nobody else had it.
func TestLeadLapses(t *testing.T) {
	e := newElection(nil, "n", "l", "a", discard())
	now := time.Now()
	e.candidate.see(e.candidate.taken(now), now)
	e.conclude(now, nil)
	<-e.changed
	e.conclude(now, nil)
	if len(e.changed) != 0 {
		t.Error("a renewal in time says that something has changed")
	}
	e.until = now.Add(-time.Second)
	e.conclude(now, nil)
	if len(e.changed) == 0 || !e.leads(now) {
		t.Errorf("renewed after its end, it leads %v, and nobody is told", e.leads(now))
	}
}

// A Lease is given back also where the end comes in the middle of a renewal.
func TestReleaseAfterRenewal(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	kubeconfig, _ := s.Reach()
	client, namespace, err := apiserver.New(kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	rt, closeIdle, err := client.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer closeIdle()
	e := newElection(client, namespace, gatesLease, "a", discard())
	if err := e.try(t.Context(), rt, time.Now()); err != nil || holder(s, gatesLease) != "a" {
		t.Fatalf("the Lease is %q's: %v", holder(s, gatesLease), err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := e.try(over, rt, time.Now()); err == nil {
		t.Fatal("it was renewed after the end")
	}
	if err := e.release(over, rt); err != nil || holder(s, gatesLease) != "" {
		t.Errorf("after the end the Lease is %q's: %v", holder(s, gatesLease), err)
	}
}
