package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/internal/text"
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

// seen is what tests read of an answer.
type seen struct {
	Version   uint64
	Endpoints []seenEndpoint
	Members   []struct{ ID string }
}

type seenEndpoint struct {
	seenCounts
	Instances []seenInstance
}

type seenCounts struct {
	Endpoint                                                                   string
	Registered, Ready, Verified, NotReady, Unreachable, Draining, Unregistered int
}

type seenInstance struct {
	ID, Verdict  string
	Reasons      []string
	Observations []struct {
		Observer, Kind, Finding string
		Counts                  bool
	}
}

// of returns an instance as /mesh shows it; one without a verdict if it does not.
func (s seen) of(k dynmesh.InstanceKey) seenInstance {
	for _, e := range s.Endpoints {
		for _, i := range e.Instances {
			if e.Endpoint == k.Endpoint.String() && i.ID == k.ID.String() {
				return i
			}
		}
	}
	return seenInstance{}
}

// startMesh runs a server that knows n instances with a worker each.
func startMesh(t testing.TB, n int) *running {
	t.Helper()
	f := startWith(t, Config{}, newKnown(true, nil), nil)
	u, g := testkit.Mesh(n)
	f.discover(u)
	f.gossip(g)
	return f
}

func TestMeshInThreeDepths(t *testing.T) {
	f := startMesh(t, 20)
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
		narrow := parsed(t, got.body)
		if got.code != 200 || len(narrow.Endpoints) != 1 || len(narrow.Endpoints[0].Instances) != want || narrow.Endpoints[0].seenCounts != s.Endpoints[0].seenCounts || narrow.Version != s.Version {
			t.Errorf("%s: got %d %s", path, got.code, got.body)
		}
	}
	one := parsed(t, f.get("/mesh/dynamo.backend-0.generate/"+first.ID).body).Endpoints[0].Instances[0]
	if got, want := fmt.Sprint(one.ID, one.Verdict, one.Reasons, one.Observations), fmt.Sprint(first.ID, first.Verdict, first.Reasons, first.Observations); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMeshKnowsNoSuch(t *testing.T) {
	f := startMesh(t, 3)
	for path, want := range map[string]string{
		"/mesh/dynamo.nobody.generate":                     "no endpoint dyn://dynamo.nobody.generate is known",
		"/mesh/dynamo.nobody.generate/694d9b9000000000":    "no endpoint dyn://dynamo.nobody.generate is known",
		"/mesh/%22%0A%3Cb%3E%FF":                           "no endpoint dyn://\" <b>\uFFFD is known",
		"/mesh/dynamo.backend-0.generate/1":                "endpoint dyn://dynamo.backend-0.generate has no instance 1",
		"/mesh/dynamo.backend-0.generate/694D9B9000000000": `instance ID "694D9B9000000000": want 64 bits in lower-case hexadecimal without padding`,
	} {
		got := f.get(path)
		want := string(text.JSON(map[string]any{"code": 404, "message": want, "status": "error"}))
		if got.code != 404 || got.body != want || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s, want %s", path, got.code, got.body, want)
		}
	}
	if got := f.get("/mesh/a.b.c/1/2").code; got != 404 {
		t.Errorf("got %d of a path too deep", got)
	}
	f = start(t, Config{}, nil, nil)
	if got := f.get("/mesh/a.b.c"); got.code != 404 || !strings.Contains(got.body, "is known, and the registry has not been read yet") || got.header.Get(headerDiscovery) != "syncing" {
		t.Errorf("got %d %s", got.code, got.body)
	}
}

// Names that others wrote into etcd can be asked for as they are.
func TestMeshOfForeignNames(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	var puts []dynmesh.Instance
	for n, name := range []string{"a/b", "a b", "ü€", "%41", "?x#y", ".."} {
		puts = append(puts, testkit.HTTPInstance(testkit.Key("d", "b", name, uint64(n+1))))
	}
	puts = append(puts, testkit.HTTPInstance(testkit.Key("d.b", "x", "y", 7)), testkit.HTTPInstance(testkit.Key("d", "b.x", "y", 8)))
	f.discover(testkit.Synced(puts...))
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
	f := startMesh(t, 50)
	eventually(t, "gzip", func() bool { return f.newest.Load().Mesh.Gzip() != nil })
	p := f.newest.Load()
	for _, path := range []string{"/mesh", "/mesh/dynamo.backend-0.generate", "/mesh/dynamo.backend-0.generate/694d9b9000000000"} {
		plain := f.get(path)
		tag := plain.header.Get("ETag")
		if tag != p.Mesh.Identity.ETag || plain.header.Get("Content-Encoding") != "" || plain.header.Get("Cache-Control") != "no-cache" || plain.header.Get("Vary") != "Accept-Encoding" {
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
			packed.body = testkit.Gunzip(t, packed.body)
		}
		if packed.body != plain.body {
			t.Errorf("%s: gzip: got another body", path)
		}
	}
	f.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1))))
	if got := f.get("/mesh", "If-None-Match", p.Mesh.Identity.ETag); got.code != 200 || got.header.Get("ETag") == p.Mesh.Identity.ETag {
		t.Errorf("after a change: got %d, %s", got.code, got.header.Get("ETag"))
	}
}

// Whatever the size of an answer, it arrives whole: small ones and large ones are sent in different
// ways.
func TestMeshOfEachSize(t *testing.T) {
	f := startWith(t, Config{}, newKnown(true, nil), nil)
	u, g := testkit.Mesh(120)
	for n := range u.Puts {
		f.discover(testkit.Synced(u.Puts[n]))
		f.gossip(dynmesh.GossipUpdate{Members: g.Members[n : n+1], Observations: g.Observations[3*n : 3*n+1]})
		p := f.newest.Load()
		if got := f.get("/mesh"); got.body != content(p.Mesh.Identity) || len(parsed(t, got.body).Members) != n+1 {
			t.Fatalf("%d instances: got %d bytes, want %d", n+1, len(got.body), p.Mesh.Identity.Size)
		}
	}
}

func TestMeshStopsWithTheRest(t *testing.T) {
	f := start(t, Config{GracefulShutdownTimeout: patience}, nil, nil)
	if got := f.get("/mesh"); got.code != 200 || parsed(t, got.body).Endpoints == nil {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	f.stop()
	for _, path := range []string{"/mesh", "/mesh/a.b.c"} {
		eventually(t, "503", func() bool { return f.get(path).code == http.StatusServiceUnavailable })
	}
}
