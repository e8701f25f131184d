package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// base64Key is what a key of 32 bytes looks like, and nothing else that is printed.
var base64Key = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)

// frontendOf returns the root of the registered frontend.
func frontendOf(t *testing.T, registry etcd.Config) string {
	t.Helper()
	for _, m := range sample(t, registry) {
		if m.Role == dynmesh.RoleFrontend {
			return m.SystemURL
		}
	}
	t.Fatal("no frontend is registered")
	return ""
}

// keyOf returns the value under which etcd keeps the mesh's keys.
func keyOf(t *testing.T, registry etcd.Config) string {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: registry.Endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	r, err := client.Get(t.Context(), "v1/dynmesh/mesh")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

// The key of a mesh that runs is replaced by one command: nobody is lost, nothing is refused, and
// no key is printed anywhere.
func TestKeygenRotates(t *testing.T) {
	registry := startRegistry(t)
	front, _ := command(t, "frontend", "--http-host", "127.0.0.1", "--http-port", "0", "--gossip-bind", "127.0.0.1:0", "--etcd-endpoints", registry.Endpoints[0], "--log", "debug")
	worker, _ := command(t, "worker", "--system-port", "0", "--rpc-port", "0", "--gossip-bind", "127.0.0.1:0", "--etcd-endpoints", registry.Endpoints[0], "--log", "debug")
	testkit.Eventually(t, 60*time.Second, "both are registered", func() bool { return len(sample(t, registry)) == 2 })
	root := frontendOf(t, registry)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func(path string) string {
		t.Helper()
		body, err := fetch(client, root+path, "")
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	met := func() bool { return strings.Contains(get("/metrics"), `dynmesh_gossip_members{state="alive"} 2`) }
	testkit.Eventually(t, 60*time.Second, "they have met", met)
	before := keyOf(t, registry)

	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if code := execute(ctx, []string{"keygen", "--rotate", "--etcd-endpoints", registry.Endpoints[0]}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
	want := "2 of 2 members use the new key\nDone: nobody understands the old key any longer\n"
	if got := stdout.String(); !strings.HasSuffix(got, want) || !strings.Contains(got, "2 of 2 members understand the new key\n") {
		t.Errorf("it says\n%s", got)
	}
	after := keyOf(t, registry)
	if len(base64Key.FindAllString(after, -1)) != 1 || after == before {
		t.Error("etcd does not have one new key")
	}
	for _, log := range []*testkit.Buffer{front, worker} {
		testkit.Eventually(t, 60*time.Second, "the old key is dropped", func() bool { return strings.Count(log.String(), "Keys changed") == 3 })
	}
	testkit.Eventually(t, 60*time.Second, "they still know each other", met) // one may be suspected for a moment, of being slow
	if metrics := get("/metrics"); strings.Contains(metrics, "dynmesh_gossip_rejected_total{") {
		t.Errorf("something was refused:\n%s", metrics)
	}
	for what, text := range map[string]string{
		"/mesh": get("/mesh"), "/metrics": get("/metrics"), "the frontend's log": front.String(), "the worker's log": worker.String(), "keygen": stdout.String() + stderr.String(),
	} {
		for _, key := range append(base64Key.FindAllString(before, -1), base64Key.FindAllString(after, -1)...) {
			if strings.Contains(text, key) {
				t.Errorf("%s has a key in it:\n%s", what, text)
			}
		}
	}
}

// A mesh goes in the clear by saying so, and members that do not all say the same are told.
func TestDifferentGossipKeys(t *testing.T) {
	registry := startRegistry(t)
	start := func(kind string, args ...string) *testkit.Buffer {
		t.Helper()
		common := []string{kind, "--gossip-bind", "127.0.0.1:0", "--etcd-endpoints", registry.Endpoints[0]}
		if kind == "worker" {
			common = append(common, "--system-port", "0", "--rpc-port", "0")
		} else {
			common = append(common, "--http-host", "127.0.0.1", "--http-port", "0")
		}
		log, _ := command(t, append(common, args...)...)
		return log
	}
	start("frontend", "--gossip-key", "none")
	start("worker", "--gossip-key", "none")
	testkit.Eventually(t, 60*time.Second, "both are registered", func() bool { return len(sample(t, registry)) == 2 })
	root := frontendOf(t, registry)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	has := func(path, part string) func() bool {
		return func() bool {
			body, err := fetch(client, root+path, "")
			if err != nil {
				t.Fatal(err)
			}
			if path != "/mesh" {
				return strings.Contains(body, part)
			}
			var mesh struct{ Warnings []string }
			if err := json.Unmarshal([]byte(body), &mesh); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(strings.Join(mesh.Warnings, "\n"), part)
		}
	}
	testkit.Eventually(t, 60*time.Second, "both have met in the clear", has("/metrics", `dynmesh_gossip_members{state="alive"} 2`))
	if key := keyOf(t, registry); key != "" {
		t.Error("a mesh without a key has put one into etcd")
	}
	if has("/mesh", "different keys")() {
		t.Error("it warns though all say the same")
	}
	start("worker")
	start("worker", "--gossip-key", gossip.GenerateKey())
	testkit.Eventually(t, 60*time.Second, "the warning", has("/mesh",
		"members gossip with different keys, and do not hear each other: 1 with the key that etcd keeps, 1 with a key from their settings, 2 without a key"))
}
