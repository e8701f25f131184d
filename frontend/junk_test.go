package frontend_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Whoever may write into the registry cannot fill answers: however long the keys that are no
// entries, /mesh says of each in a line what it is like, and each part of /mesh does not grow with
// them.
func TestJunkInTheRegistryDoesNotFillAnswers(t *testing.T) {
	f, cfg := onEtcd(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: cfg.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	put := func(key, value string) {
		t.Helper()
		if _, err := client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	well := dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "d", Component: "b", Name: "g"}, ID: 1},
		Transport:   dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/g"),
	}
	put(well.String(), string(well.Value()))
	const junk = 20
	for n := range junk {
		// Control characters, which any form of quoting makes longer, in what is no key of an
		// instance, is none of a member, and in the ID of what would else be a key.
		long := strings.Repeat("\x1b", 1<<16) // etcd takes 1 MiB, and as many seconds on a busy machine as it gives itself
		put(fmt.Sprintf([]string{"v1/instances/%02d%s", "v1/dynmesh/members/%02d%s", "v1/instances/d/b/g/%02d%s"}[n%3], n, long), "x")
	}

	var mesh struct{ Warnings []string }
	var answer string
	testkit.Eventually(t, 20*time.Second, "all junk is told of", func() bool {
		answer = get("http://" + f.Addr() + "/mesh")
		if json.Unmarshal([]byte(answer), &mesh) != nil {
			return false
		}
		left := 0
		for _, w := range mesh.Warnings {
			if strings.Contains(w, "is left out: ") {
				left++
			}
		}
		return left == junk
	})
	for _, w := range mesh.Warnings {
		if len(w) > 500 || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
			t.Errorf("got a warning of %d bytes: %.600q", len(w), w)
		}
	}
	for _, path := range []string{"/mesh", "/mesh/d.b.g", "/mesh/d.b.g/1"} {
		if answer := get("http://" + f.Addr() + path); len(answer) > 32<<10 || !strings.Contains(answer, `"id":"1"`) {
			t.Errorf("%s: got %d bytes: %.600s", path, len(answer), answer)
		}
	}
}
