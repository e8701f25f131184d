package frontend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
)

// parsed reads a body of /mesh.
func parsed(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v in %.400s", err, body)
	}
	return s
}

// verdicts waits until everything that told says has arrived.
func (r *running) verdicts(n int) {
	r.t.Helper()
	eventually(r.t, "verdicts", func() bool {
		verified := 0
		for _, e := range r.registry.page.Load().view.parts {
			var head jsonEndpoint
			if err := json.Unmarshal(append(e.head[:len(e.head)-len(partRecords):len(e.head)-len(partRecords)], '}'), &head); err != nil {
				r.t.Fatal(err)
			}
			verified += head.Verified
		}
		return verified == n
	})
}

// startMesh runs a frontend that knows n instances with a worker each.
func startMesh(t testing.TB, n int) (f *running, source updates) {
	source = make(updates)
	pool := newFakePool()
	f = start(t, Config{Pool: pool}, defaultLimits, source)
	u, g := told(n)
	source <- u
	pool.say(g)
	f.verdicts(n)
	return f, source
}

func TestMeshInThreeDepths(t *testing.T) {
	f, _ := startMesh(t, 20)
	all := f.get("/mesh")
	s := parsed(t, all.body)
	if all.code != 200 || len(s.Endpoints) != 8 || len(s.Members) != 20 || all.header.Get(headerDiscovery) != "synced" || all.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d, %d endpoints, %d members, %v", all.code, len(s.Endpoints), len(s.Members), all.header)
	}
	first := s.Endpoints[0].Instances[0]
	for path, want := range map[string]int{
		"/mesh/dynamo.backend-0.generate":                                         3,
		"/mesh/dynamo.backend-0.generate/":                                        3,
		"/mesh/dyn:%2F%2Fdynamo.backend-0.generate":                               3,
		"/mesh/dynamo.backend-0.generate/" + first.ID:                             1,
		"/mesh/dynamo.backend-0.generate/" + s.Endpoints[0].Instances[2].ID + "/": 1,
	} {
		got := f.get(path)
		part := parsed(t, got.body)
		if got.code != 200 || len(part.Endpoints) != 1 || len(part.Endpoints[0].Instances) != want || part.Endpoints[0].jsonEndpoint != s.Endpoints[0].jsonEndpoint || part.Version != s.Version {
			t.Errorf("%s: got %d %s", path, got.code, got.body)
		}
	}
	one := parsed(t, f.get("/mesh/dynamo.backend-0.generate/"+first.ID).body).Endpoints[0].Instances[0]
	if got, want := fmt.Sprint(one.ID, one.Verdict, one.Reasons, one.Observations), fmt.Sprint(first.ID, first.Verdict, first.Reasons, first.Observations); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMeshKnowsNoSuch(t *testing.T) {
	f, _ := startMesh(t, 3)
	for path, want := range map[string]string{
		"/mesh/dynamo.nobody.generate":                     "no endpoint dyn://dynamo.nobody.generate is known",
		"/mesh/dynamo.nobody.generate/694d9b9000000000":    "no endpoint dyn://dynamo.nobody.generate is known",
		"/mesh/%22%0A%3Cb%3E%FF":                           "no endpoint dyn://\"\n<b>\uFFFD is known",
		"/mesh/dynamo.backend-0.generate/1":                "endpoint dyn://dynamo.backend-0.generate has no instance 1",
		"/mesh/dynamo.backend-0.generate/694D9B9000000000": `instance ID "694D9B9000000000": want 64 bits in lower-case hexadecimal without padding`,
	} {
		got := f.get(path)
		want := string(encoded(map[string]any{"code": 404, "message": want, "status": "error"}))
		if got.code != 404 || got.body != want || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s, want %s", path, got.code, got.body, want)
		}
	}
	if got := f.get("/mesh/a.b.c/1/2").code; got != 404 {
		t.Errorf("got %d of a path too deep", got)
	}
	f = start(t, Config{}, defaultLimits, make(updates))
	if got := f.get("/mesh/a.b.c"); got.code != 404 || !strings.Contains(got.body, "is known, and etcd has not been read yet") || got.header.Get(headerDiscovery) != "syncing" {
		t.Errorf("got %d %s", got.code, got.body)
	}
}

// Names that others wrote into etcd can be asked for as they are.
func TestMeshOfForeignNames(t *testing.T) {
	source := make(updates)
	f := start(t, Config{}, defaultLimits, source)
	var puts []dynmesh.Instance
	for n, name := range []string{"a/b", "a b", "ü€", "%41", "?x#y", ".."} {
		puts = append(puts, httpInstance(key("d", "b", name, uint64(n+1))))
	}
	puts = append(puts, httpInstance(key("d.b", "x", "y", 7)), httpInstance(key("d", "b.x", "y", 8)))
	source <- synced(puts...)
	f.waitInstances(len(puts))
	for _, put := range puts {
		path := "/mesh/" + url.PathEscape(strings.TrimPrefix(put.Endpoint.String(), "dyn://")) + "/" + put.ID.String()
		got := f.get(path)
		if got.code != 200 || parsed(t, got.body).of(put.InstanceKey).ID != put.ID.String() {
			t.Errorf("%s: got %d %s", path, got.code, got.body)
		}
	}
	if got := len(parsed(t, f.get("/mesh/d.b.x.y").body).Endpoints); got != 2 {
		t.Errorf("got %d endpoints of one name, want both", got)
	}
}

func TestMeshIsSentOnce(t *testing.T) {
	f, source := startMesh(t, 50)
	eventually(t, "gzip", func() bool { return f.registry.page.Load().view.gzip.Load() != nil })
	p := f.registry.page.Load()
	for _, path := range []string{"/mesh", "/mesh/dynamo.backend-0.generate", "/mesh/dynamo.backend-0.generate/694d9b9000000000"} {
		plain := f.get(path)
		tag := plain.header.Get("ETag")
		if tag != p.view.plain.etag || plain.header.Get("Content-Encoding") != "" || plain.header.Get("Cache-Control") != "no-cache" || plain.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: got %v", path, plain.header)
		}
		if got := f.get(path, "If-None-Match", tag); got.code != 304 || got.body != "" {
			t.Errorf("%s: got %d and %d bytes, want 304", path, got.code, len(got.body))
		}
		head, err := f.try(http.MethodHead, path)
		if err != nil || head.code != 200 || head.body != "" || head.header.Get("Content-Length") != fmt.Sprint(len(plain.body)) {
			t.Errorf("%s: HEAD: got %d, %v, %v, want length %d", path, head.code, head.header, err, len(plain.body))
		}
		packed := f.get(path, "Accept-Encoding", "gzip")
		if path == "/mesh" {
			packed.body = unzip(t, packed.body)
		}
		if packed.body != plain.body {
			t.Errorf("%s: gzip: got another body", path)
		}
	}
	source <- synced(httpInstance(key("d", "b", "g", 1)))
	f.waitInstances(51)
	if got := f.get("/mesh", "If-None-Match", p.view.plain.etag); got.code != 200 || got.header.Get("ETag") == p.view.plain.etag {
		t.Errorf("after a change: got %d, %s", got.code, got.header.Get("ETag"))
	}
}

// What several versions of the mesh have in common is the same memory, and clients see whole versions.
func TestOneVerdictSharesTheRestOfTheMesh(t *testing.T) {
	r, pool := filledMesh(largeFleet)
	old := r.page.Load()
	k := fleetOf(largeFleet)[5000].InstanceKey
	o := canaryOf(k, 2, false)
	pool.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{o}})
	r.mesh.gossip()
	r.render()
	now := r.page.Load()
	if now.version != old.version+1 || now.listing != old.listing || now.view == old.view {
		t.Errorf("got version %d after %d, listing shared %v, view shared %v", now.version, old.version, now.listing == old.listing, now.view == old.view)
	}
	if listing, before, after := now.plain.serial, old.view.plain.serial, now.view.plain.serial; after <= before || before == listing || after == listing {
		t.Errorf("got serials %d and %d of views, %d of the listing: want each its own, the later higher", before, after, listing)
	}
	shared := map[*byte]bool{}
	for _, s := range old.view.plain.segments {
		shared[&s[0]] = true
	}
	fresh := 0
	for _, s := range now.view.plain.segments {
		if !shared[&s[0]] {
			fresh += len(s)
		}
	}
	if limit := now.view.plain.size / 50; fresh == 0 || fresh > limit {
		t.Errorf("got %d new bytes of %d, want at most %d", fresh, now.view.plain.size, limit)
	}
}

// Whatever the size of an answer, it arrives whole: small ones and large ones are sent in different ways.
func TestMeshOfEachSize(t *testing.T) {
	source, pool := make(updates), newFakePool()
	f := start(t, Config{Pool: pool}, defaultLimits, source)
	u, g := told(120)
	for n := range u.Puts {
		source <- synced(u.Puts[n])
		pool.say(dynmesh.GossipUpdate{Members: g.Members[n : n+1], Observations: g.Observations[3*n : 3*n+1]})
		f.verdicts(n + 1)
		p := f.registry.page.Load()
		if got := f.get("/mesh"); got.body != text(p.view.plain) || len(parsed(t, got.body).Members) != n+1 {
			t.Fatalf("%d instances: got %d bytes, want %d", n+1, len(got.body), p.view.plain.size)
		}
	}
}

// The first list is long, and the listing of it does not wait for the verdicts.
func TestLongListsAreListedFirst(t *testing.T) {
	for n, want := range map[int]string{largeWork + 1: "[{1001 0} {1001 1001}]", largeWork: "[{1000 1000}]"} {
		type sizes struct{ listed, shown int }
		var got []sizes
		r := newRegistry(quiet(), func(_, p *page) {
			s := sizes{listed: p.instances}
			for _, part := range p.view.parts {
				for _, c := range part.chunks {
					s.shown += len(c.records)
				}
			}
			got = append(got, s)
		})
		r.withMesh(newMesh(quiet(), nil))
		r.take(synced(fleetOf(n)...))
		r.render()
		if fmt.Sprint(got) != want {
			t.Errorf("got pages with %v, want %s", got, want)
		}
	}
}

func TestMeshStopsWithTheRest(t *testing.T) {
	f := start(t, Config{GracefulShutdownTimeout: patience}, defaultLimits, make(updates))
	if got := f.get("/mesh"); got.code != 200 || parsed(t, got.body).Endpoints == nil {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	f.stop()
	for _, path := range []string{"/mesh", "/mesh/a.b.c"} {
		eventually(t, "503", func() bool { return f.get(path).code == http.StatusServiceUnavailable })
	}
}
