package figures

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// TestHundredThousandForeign registers more instances whose workers are no members than one
// frontend can report of, at addresses that refuse. The frontend says once how many are left out,
// and nothing is an error.
func TestHundredThousandForeign(t *testing.T) {
	if os.Getenv("DYNMESH_BENCH") == "" {
		t.Skip("left out: takes minutes; run make bench")
	}
	server, client := startEtcd(t)
	addr, p := startProcess(t, server.Endpoint(), "127.0.0.1:0")
	registerAll(t, client, crowd, func(i int) dynmesh.Instance {
		one := instance(i)
		one.Transport = dynmesh.HTTPTransport(fmt.Sprintf("http://127.2.%d.%d:1/v1/rpc/generate", i/250%4, i%250))
		return one
	})
	awaitBody(t, addr, crowd)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		m := scrape(t, addr)
		reported, left := int(m["dynmesh_gossip_observations"]), int(m["dynmesh_gossip_foreign_unreported"])
		if reported == probe.MaxForeign && left == crowd-probe.MaxForeign {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are reported and %d left out, want %d and %d", reported, left, probe.MaxForeign, crowd-probe.MaxForeign)
		}
	}
	<-time.After(time.Minute) // in which each is looked at again
	said := p.Log.String()
	if _, first, bad := strings.Cut(said, " ERROR "); bad {
		t.Errorf("%d lines are errors, such as %.300q", strings.Count(said, " ERROR "), first)
	}
	if n := strings.Count(said, "more foreign instances than one frontend can report of"); n != 1 {
		t.Errorf("that some are left out is said %d times, want once", n)
	}
}
