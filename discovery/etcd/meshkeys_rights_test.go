package etcd_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Who may not put its key back waits for somebody who may, understands the new one meanwhile, and
// takes it over in the end. What was not made just now is taken over at once.
func TestKeysOfWhoMayOnlyRead(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	ctx := context.Background()
	reader := addUser(t, client, "reader")
	for _, bucket := range []string{"v1/dynmesh/instances/", "v1/dynmesh/members/"} {
		if _, err := client.RoleGrantPermission(ctx, reader, bucket, clientv3.GetPrefixRangeEnd(bucket), clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.RoleGrantPermission(ctx, reader, meshkey.Path, "", clientv3.PermissionType(clientv3.PermRead)); err != nil {
		t.Fatal(err)
	}
	enableAuth(t, client)
	put, _ := writer(t, dialAs(t, server.Endpoint()))
	held := meshkey.New()
	put(meshkey.Path, held.Encode())
	m := startKeyed(t, etcd.Config{Endpoints: []string{server.Endpoint()}, Username: reader, Password: "secret"})
	testkit.Eventually(t, 30*time.Second, "the key", func() bool { return m.key() == held.Key })

	made := func(ago time.Duration) meshkey.Value {
		v := meshkey.New()
		v.Made = time.Now().Add(-ago).Unix()
		return v
	}
	const left = 10 * time.Second // which a watch needs milliseconds of
	began := time.Now()
	other := made(meshkey.Contested - left)
	put(meshkey.Path, other.Encode())
	testkit.Eventually(t, 60*time.Second, "it takes over the new one", func() bool { return m.key() == other.Key })
	if waited := time.Since(began); waited < left-time.Second { // whole seconds are told
		t.Errorf("it gave way after %v", waited)
	}
	m.mu.Lock()
	if want := []string{held.Key, other.Key}; !slices.ContainsFunc(m.steps, func(step []string) bool { return slices.Equal(step, want) }) {
		t.Error("until then, it did not understand both")
	}
	m.mu.Unlock()

	later := made(2 * meshkey.Contested)
	put(meshkey.Path, later.Encode())
	testkit.Eventually(t, 30*time.Second, "what is older", func() bool { return m.key() == later.Key })
	ahead := made(-time.Hour)
	put(meshkey.Path, ahead.Encode())
	testkit.Eventually(t, 30*time.Second, "what is of a clock that is ahead", func() bool { return m.key() == ahead.Key })
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, step := range m.steps[len(m.steps)-2:] {
		if len(step) != 1 {
			t.Error("what was not made just now is understood beside the old one")
		}
	}
}

// Who may not read the keys is told so, once, and registers all the same; so is who may not put one
// where there is none. They have it once somebody who may has put it there, or once they may.
func TestKeysWithFewRights(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	ctx := context.Background()
	grant := func(user, key, end string, kind clientv3.PermissionType) {
		t.Helper()
		if _, err := client.RoleGrantPermission(ctx, user, key, end, kind); err != nil {
			t.Fatal(err)
		}
	}
	none, reader := addUser(t, client, "none"), addUser(t, client, "reader")
	for _, user := range []string{none, reader} {
		for _, bucket := range []string{"v1/dynmesh/instances/", "v1/dynmesh/members/"} {
			grant(user, bucket, clientv3.GetPrefixRangeEnd(bucket), clientv3.PermissionType(clientv3.PermReadWrite))
		}
	}
	grant(reader, meshkey.Path, "", clientv3.PermissionType(clientv3.PermRead))
	enableAuth(t, client)
	as := func(user string) etcd.Config {
		return etcd.Config{Endpoints: []string{server.Endpoint()}, Username: user, Password: "secret"}
	}
	a, b := startKeyed(t, as(none)), startKeyed(t, as(reader))
	testkit.Eventually(t, 60*time.Second, "who may not read is told so", func() bool { return strings.Contains(a.lack(), "may not read v1/dynmesh/mesh") })
	testkit.Eventually(t, 60*time.Second, "who may not write is told so", func() bool {
		return strings.Contains(b.lack(), "there is no key in etcd at v1/dynmesh/mesh, and etcd's user may not put one there")
	})
	for _, m := range []*keyed{a, b} {
		awaitRegistered(t, m.Registrar)
		if n := countLines(m.hook, "This member does not gossip"); n != 1 || m.key() != "" {
			t.Errorf("it says so %d times, want once", n)
		}
	}
	root := as("root")
	source := func(of *keyed) dynmesh.KeySource {
		all, err := etcd.SampleMembers(ctx, root, 100)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(m dynmesh.RegisteredMember) bool { return m.ID == of.ID() })
		if i < 0 {
			return ""
		}
		return all[i].GossipKey
	}
	for _, m := range []*keyed{a, b} {
		testkit.Eventually(t, 30*time.Second, "its record says so", func() bool { return source(m) == dynmesh.KeyMissing })
	}
	rotate := func() {
		t.Helper()
		if err := etcd.RotateKeysFaster(ctx, root, time.Minute, 0, func(string) {}); err != nil {
			t.Error(err)
		}
	}
	rotate() // it puts one there
	testkit.Eventually(t, 30*time.Second, "the reader has the key", func() bool { return b.key() != "" && source(b) == dynmesh.KeyOfRegistry })
	rotate() // who is registered and has no key holds nobody up
	if _, err := dialAs(t, server.Endpoint()).RoleGrantPermission(ctx, none, meshkey.Path, "", clientv3.PermissionType(clientv3.PermRead)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 90*time.Second, "the other may, and has", func() bool { return a.key() == b.key() && source(a) == dynmesh.KeyOfRegistry })
	a.secret(t)
}

// dialAs returns a client of root's, once etcd asks who somebody is.
func dialAs(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Username: "root", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
