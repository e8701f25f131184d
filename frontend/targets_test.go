package frontend

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// targets returns what Prometheus would be told, by address.
func (r *rig) targets() map[string]map[string]string {
	r.t.Helper()
	var list []struct {
		Targets []string
		Labels  map[string]string
	}
	if err := json.Unmarshal(r.now().Mesh.Targets.Identity.Bytes(), &list); err != nil {
		r.t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, target := range list {
		if len(target.Targets) != 1 || all[target.Targets[0]] != nil {
			r.t.Errorf("got %+v, want one address each, and each once", target)
		}
		all[target.Targets[0]] = target.Labels
	}
	return all
}

func TestTargets(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		golden(t, "targets.json", string(r.now().Mesh.Targets.Identity.Bytes()))
		if got := r.targets()["host-a:8081"]["__meta_dynmesh_"+"endpoints"]; got != ",dyn://d.b.g," {
			t.Errorf("got endpoints %q", got)
		}
		before := r.now().Mesh
		r.canary(a, false)
		if now := r.now().Mesh; now == before || now.Targets != before.Targets {
			t.Error("got another list, want the same as long as no process changes")
		}
		second := testkit.Key("d", "b", "a", 0xa)
		front := dynmesh.RegisteredMember{ID: 0xf, MemberInfo: dynmesh.MemberInfo{Role: dynmesh.RoleFrontend, Host: "front", SystemURL: "https://front/base/", Labels: map[string]string{"a-b": "1", "a_b": "2", "é": "x\xff"}}}
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Puts: []dynmesh.Instance{testkit.HTTPInstance(second)}, Deletes: []dynmesh.InstanceKey{b}, Members: []dynmesh.RegisteredMember{front}, MembersGone: []dynmesh.InstanceID{c.ID}})
		got := r.targets()
		if len(got) != 3 || got["host-a:8081"]["__meta_dynmesh_"+"endpoints"] != ",dyn://d.b.a,dyn://d.b.g," || got["host-b:8081"]["__meta_dynmesh_"+"endpoints"] != "" {
			t.Errorf("got %v", got)
		}
		f := got["front:443"]
		if f["__scheme__"] != "https" || f["__metrics_path__"] != "/base/metrics" || f["__meta_dynmesh_"+"role"] != "frontend" || f["__meta_dynmesh_"+"label_a_b"] != "1" || f["__meta_dynmesh_"+"label__"] != "x\uFFFD" {
			t.Errorf("got %v", f)
		}
		// One that comes back as another process of the same ID.
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, MembersGone: []dynmesh.InstanceID{front.ID}})
		front.SystemURL = "http://front:9"
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Members: []dynmesh.RegisteredMember{front}})
		if got := r.targets(); len(got) != 3 || got["front:9"] == nil {
			t.Errorf("got %v", got)
		}
	})
}

// A worker that drains has left the registry: nobody scrapes it any longer, and its host is shown
// until it has ended.
func TestTargetsAndHostOfWhoDrains(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, _, _ := r.trio()
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(dynmesh.Observation{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1},
			Report: dynmesh.Report{Subject: dynmesh.Subject{ID: a.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true}})}})
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{a}, MembersGone: []dynmesh.InstanceID{a.ID}})
		r.want(a, "draining", "etcd does not list it")
		if i := r.seen().of(a); i.Worker == nil || i.Worker.Host != "host-a" {
			t.Errorf("got %+v, want host-a", i.Worker)
		}
		if got := r.targets(); len(got) != 2 || got["host-a:8081"] != nil {
			t.Errorf("got %v, want the two others", got)
		}
		r.member(a.ID, dynmesh.Left)
		r.want(a, "", "")
	})
}

func TestTargetsOfWhoDoesNotSay(t *testing.T) {
	meshed(t, true, func(r *rig) {
		u := testkit.Synced()
		for n, at := range []string{"", "host:8081", "ftp://host:1", "http://:8081", "http://0.0.0.0:8081", "http://host:0", "http://host:99999", "http://%zz", "\x00"} {
			u.Members = append(u.Members, dynmesh.RegisteredMember{ID: dynmesh.InstanceID(n + 1), MemberInfo: dynmesh.MemberInfo{SystemURL: at}})
		}
		r.send(u)
		if got := r.targets(); len(got) != 0 {
			t.Errorf("got %v, want none", got)
		}
	})
}

func TestTargetsRoute(t *testing.T) {
	t.Parallel()
	source := make(updates)
	f := start(t, Config{}, source)
	got := f.get("/sd/prometheus")
	const unread = `{"code":503,"message":"the registry has not been read yet","status":"error"}`
	if got.code != http.StatusServiceUnavailable || got.body != unread || got.header.Get("X-Dynmesh-Discovery") != "syncing" {
		t.Errorf("got %d %v %s, want 503 %s", got.code, got.header, got.body, unread)
	}
	// Instances and members are read apart: without the latter, an empty list would be no truth.
	source <- testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1)))
	eventually(t, "the instance", func() bool { return strings.Contains(f.get("/health").body, `"instance_id":1`) })
	eventually(t, "that it is in /mesh", func() bool { return strings.Contains(f.get("/mesh").body, `"id":"1"`) })
	if got := f.get("/sd/prometheus"); got.code != http.StatusServiceUnavailable || !strings.Contains(got.body, "what processes tell of themselves has not been read yet") {
		t.Errorf("got %d %s, want 503 before the members have been read", got.code, got.body)
	}
	source <- dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), MembersRead: true}
	eventually(t, "200", func() bool { return f.get("/sd/prometheus").code == http.StatusOK })
	got = f.get("/sd/prometheus")
	if got.body != "[]" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v %s, want an empty list", got.header, got.body)
	}
	u := testkit.Synced()
	u.Members = []dynmesh.RegisteredMember{member(1, "h")}
	source <- u
	eventually(t, "the target", func() bool { return strings.Contains(f.get("/sd/prometheus").body, `"h:8081"`) })
	source <- dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Unix(2000, 0)}
	eventually(t, "that etcd is away", func() bool {
		return strings.HasPrefix(f.get("/sd/prometheus").header.Get("X-Dynmesh-Discovery"), "stale")
	})
	got = f.get("/sd/prometheus")
	if got.code != http.StatusOK || !strings.Contains(got.body, `"h:8081"`) {
		t.Errorf("got %d %s, want what was known", got.code, got.body)
	}
	if again := f.get("/sd/prometheus", "If-None-Match", got.header.Get("ETag")); again.code != http.StatusNotModified {
		t.Errorf("got %d, want 304", again.code)
	}
}
