package fleet

import (
	"testing"

	"github.com/dynmesh/dynmesh"
)

// Who is withdrawn from Dynamo's bucket is known, watched and judged as before. It gets no canary
// meanwhile: Dynamo's frontend, which it would come through, knows nobody of that name.
func TestWithdrawnInstanceIsWatchedOn(t *testing.T) {
	r := newRig(t)
	k := key("b", 1)
	in := dynmesh.Instance{InstanceKey: k, Transport: raw(`{"tcp":"10.0.0.1:9000/1/g"}`)}
	out := in
	out.Withdrawn = &dynmesh.Withdrawal{By: "a frontend", Reason: "it hangs"}
	u := synced(in)
	u.Cards = []dynmesh.ModelCard{{CardKey: dynmesh.CardKey{InstanceKey: k}, Model: "tiny", ModelType: "chat"}}
	r.discover(u)
	r.rest(foreignAfter)
	last := dynmesh.Foreign{}
	moves := func(i dynmesh.Instance, model string) {
		t.Helper()
		r.discover(synced(i))
		for _, w := range r.last.Watches {
			last = w.Foreign
		}
		if last.Addr != "10.0.0.1:9000" || last.Serves.Model != model {
			t.Errorf("it is watched at %q, and gets canaries for %q; want %q", last.Addr, last.Serves.Model, model)
		}
		found := r.f.endpoints.find(k.Endpoint, k.ID)
		if got := r.f.Withdrawn(found); got != i.Withdrawn || !found.Registered() {
			t.Errorf("it is withdrawn: %v, registered: %v", got, found.Registered())
		}
	}
	moves(out, "")
	r.probed(k, dynmesh.Fail)
	moves(out, "") // said again: nothing changes
	if len(r.last.Watches) > 0 {
		t.Errorf("it is watched anew: %v", r.last.Watches)
	}
	moves(in, "tiny")
	moves(out, "")
	r.discover(deleted(k))
	if len(r.f.withdrawn) > 0 {
		t.Errorf("it is gone, and %v are withdrawn", r.f.withdrawn)
	}
}
