package etcd_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Keys and values as large as etcd takes them leave a line each, in the log and in the list,
// whatever is in them.
func TestWatcherBoundsWhatItSaysOfJunk(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	put, _ := writer(t, client)
	const mebibyte = 1 << 20
	for i := range 10 {
		const size = 16 << 10 // etcd takes larger ones, and much time for each
		put(fmt.Sprintf("v1/instances/n/c/e/%d%s", i, strings.Repeat("\n\x1b", size/2)), "x")
		put(fmt.Sprintf("v1/dynmesh/members/%d%s", i, strings.Repeat("\xff\u202e", size/4)), "x")
	}
	name := strings.Repeat("\n", 1000-len("v1/instances/n/c//1")) // a key that may be one
	put("v1/instances/n/c/"+name+"/1", strings.Repeat("x", mebibyte))
	put("v1/instances/n/c/"+name+"/2", `{"namespace":"`+strings.Repeat(`\u202e`, 1000)+`"}`)
	put("v1/dynmesh/members/1", `{"gossip_addr":"`+strings.Repeat(`\n`, 10_000)+`"}`)

	log, hook := logged()
	_, r := startWithMembers(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Log: log})
	testkit.Eventually(t, 20*time.Second, "all of it", func() bool { return knows(r, 23) })
	fits := func(what, text string) {
		t.Helper()
		control := strings.IndexFunc(text, func(c rune) bool { return !unicode.IsGraphic(c) })
		if len(text) > 200 || !utf8.ValidString(text) || control >= 0 {
			t.Errorf("%s has %d bytes: %.300q", what, len(text), text)
		}
	}
	for _, e := range r.Rejects().Entries {
		fits("key", e.Key)
		fits("detail", e.Detail)
	}
	if n := countLines(hook, "is left out until it changes"); n != 23 {
		t.Errorf("%d lines of junk, want 23", n)
	}
	for _, line := range hook.AllEntries() {
		fits("message", line.Message)
		for name, value := range line.Data {
			fits(name, fmt.Sprint(value))
		}
	}
}

// What a registrar writes is what others read.
func TestRegistrarWritesMember(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	want := dynmesh.MemberInfo{
		Role: dynmesh.RoleFrontend, Host: "h", PID: 7, Version: "v1", StartedAt: time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC),
		SystemURL: "http://h:8000", GossipAddr: "10.0.0.1:7946", Labels: map[string]string{"zone": "a"},
	}
	id := dynmesh.NewInstanceID()
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}, ID: id, Member: want})
	start(t, r.Run)
	awaitRegistered(t, r)
	net.Refuse() // what the registrar has must do
	for what, sample := range map[string]func(context.Context, int) ([]dynmesh.RegisteredMember, error){
		"on the registrar's connection": r.SampleMembers,
		"on one of its own": func(ctx context.Context, n int) ([]dynmesh.RegisteredMember, error) {
			return etcd.SampleMembers(ctx, cfg, n)
		},
	} {
		got, err := sample(context.Background(), 10)
		if err != nil || len(got) != 1 || got[0].ID != id || fmt.Sprintf("%+v", got[0].MemberInfo) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
}

// A sample begins at a random place, goes on at the beginning, names nobody twice, and is all where
// there is no more.
func TestSampleMembers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}
	ctx := context.Background()
	var ops []clientv3.Op
	for range 40 {
		ops = append(ops, clientv3.OpPut("v1/dynmesh/members/"+dynmesh.NewInstanceID().String(), `{"gossip_addr":"10.0.0.1:7946"}`))
	}
	ops = append(ops, clientv3.OpPut("v1/dynmesh/members", "{}"), clientv3.OpPut("v1/dynmesh/members0", "{}")) // siblings
	if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[dynmesh.InstanceID]int)
	for range 60 {
		members, err := etcd.SampleMembers(ctx, cfg, 8)
		if err != nil || len(members) != 8 {
			t.Fatalf("a sample of 8: %d, %v", len(members), err)
		}
		once := make(map[dynmesh.InstanceID]bool)
		for _, m := range members {
			seen[m.ID]++
			once[m.ID] = true
		}
		if len(once) != len(members) {
			t.Fatalf("a sample names one twice: %v", members)
		}
	}
	// Each begins a sample with a chance that is its distance from the one before it: only those
	// that lie very close are rare.
	if len(seen) < 36 {
		t.Errorf("60 samples of 8 have shown %d of 40 members, want nearly all", len(seen))
	}
	for _, n := range []int{40, 50, 1000} {
		if members, err := etcd.SampleMembers(ctx, cfg, n); err != nil || len(members) != 40 {
			t.Errorf("a sample of %d: %d, %v, want all 40", n, len(members), err)
		}
	}
	if members, err := etcd.SampleMembers(ctx, cfg, 0); err != nil || len(members) != 1 {
		t.Errorf("a sample of 0: %d, %v, want one", len(members), err)
	}
	if _, err := client.Put(ctx, "v1/dynmesh/members/1", "junk"); err != nil {
		t.Fatal(err)
	}
	if members, err := etcd.SampleMembers(ctx, cfg, 100); err != nil || len(members) != 40 {
		t.Errorf("beside junk: %d, %v, want all 40", len(members), err)
	}
}

func TestSampleMembersWithoutEtcd(t *testing.T) {
	t.Parallel()
	cfg := etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if members, err := etcd.SampleMembers(ctx, cfg, 8); err == nil || !strings.Contains(err.Error(), "refused") || len(members) > 0 {
		t.Errorf("SampleMembers = %v, %v, want an error that says why", members, err)
	}
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: cfg}, "generate")
	start(t, r.Run)
	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if members, err := r.SampleMembers(ctx, 8); err == nil || len(members) > 0 {
		t.Errorf("SampleMembers = %v, %v, want an error", members, err)
	}
}

// knows says whether these members are known, and so many entries left out.
func knows(v *sourcetest.View, rejected int, ids ...dynmesh.InstanceID) bool {
	return slices.Equal(slices.Sorted(maps.Keys(v.Members())), ids) && v.Rejects().Total == rejected && v.Synced()
}

func startWithMembers(t *testing.T, cfg etcd.WatcherConfig) (*etcd.Watcher, *sourcetest.View) {
	t.Helper()
	cfg.Members = true
	w, err := etcd.NewWatcher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := sourcetest.Start(t, w)
	return w, v
}

// Members come and go beside instances; junk in either bucket is left out, counted, and shown until
// it is mended or gone.
func TestWatcherFollowsMembers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	put, remove := writer(t, client)
	put("v1/dynmesh/members/1", `{"host":"a"}`)
	put("v1/dynmesh/members/x", `{}`)
	put("v1/dynmesh/members/2", `[]`)
	put("v1/instances/n/c/e/a", "hello")
	log, hook := logged()
	w, r := startWithMembers(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Log: log})
	testkit.Eventually(t, 5*time.Second, "one member, three bad entries", func() bool { return knows(r, 3, 1) })
	want := []dynmesh.Rejected{
		{Key: "v1/dynmesh/members/2", Reason: dynmesh.RejectJSON, Detail: "value is not a JSON object"},
		{Key: "v1/dynmesh/members/x", Reason: dynmesh.RejectKey, Detail: `key: instance ID "x": want 64 bits in lower-case hexadecimal without padding`},
		{Key: "v1/instances/n/c/e/a", Reason: dynmesh.RejectJSON, Detail: "value is not a JSON object"},
	}
	if !slices.Equal(r.Rejects().Entries, want) {
		t.Errorf("left out: %+v, want %+v", r.Rejects().Entries, want)
	}
	if now, ever := metric(t, w, "dynmesh_registry_rejected_members", "json"), metric(t, w, "dynmesh_registry_rejected_members_total", "key"); now != 1 || ever != 1 {
		t.Errorf("counted %v members for json, %v for their key, want 1, 1", now, ever)
	}
	if n := w.Status().Left["json"]; n != 1 {
		t.Errorf("counted %v instances, want 1", n)
	}

	put("v1/instances/n/c", "no instance at all")
	testkit.Eventually(t, 5*time.Second, "four bad entries", func() bool { return knows(r, 4, 1) })
	remove("v1/instances/n/c")
	testkit.Eventually(t, 5*time.Second, "three again", func() bool { return knows(r, 3, 1) })
	put("v1/dynmesh/members/2", `{"host":"b","role":"frontend"}`)
	testkit.Eventually(t, 5*time.Second, "the second is mended", func() bool { return knows(r, 2, 1, 2) })
	put("v1/dynmesh/members/1", `{"host":7}`)
	testkit.Eventually(t, 5*time.Second, "the first is spoilt", func() bool { return knows(r, 3, 2) })
	remove("v1/dynmesh/members/1")
	remove("v1/dynmesh/members/2")
	remove("v1/dynmesh/members/x")
	remove("v1/instances/n/c/e/a")
	testkit.Eventually(t, 5*time.Second, "all are gone", func() bool { return knows(r, 0) })
	if n := countLines(hook, "not a dynmesh member"); n != 3 {
		t.Errorf("%d lines of members, want 3", n)
	}
}

// A sea of junk is shown as the first hundred of it, and how much there is.
func TestWatcherShowsSomeOfMuchJunk(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	long := "v1/instances/" + strings.Repeat("é", 500)
	ops := []clientv3.Op{clientv3.OpPut(long, "x")}
	for i := range 2500 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("v1/instances/junk/%05d", i), "x"))
		if len(ops) == 100 || i == 2499 {
			if _, err := client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	_, r := startWithMembers(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	testkit.Eventually(t, 10*time.Second, "all of it", func() bool { return knows(r, 2501) })
	testkit.Eventually(t, 10*time.Second, "that there are no members", func() bool { return r.MembersRead() })
	if n := len(r.Rejects().Entries); n != dynmesh.MaxRejects {
		t.Fatalf("%d entries, want %d", n, dynmesh.MaxRejects)
	}
	for i, e := range r.Rejects().Entries {
		if want := fmt.Sprintf("v1/instances/junk/%05d", i); e.Key != want {
			t.Errorf("entry %d is %q, want %q", i, e.Key, want)
		}
	}
}

// Who may not read the members' bucket still sees the instances, and one line says what is missing.
func TestWatcherWithoutRightToMembers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	putInstances(t, client, 1, 3)
	ctx := context.Background()
	reader := addUser(t, client, "reader")
	grant := func(kind clientv3.PermissionType, prefix string) {
		t.Helper()
		if _, err := client.RoleGrantPermission(ctx, reader, prefix, clientv3.GetPrefixRangeEnd(prefix), kind); err != nil {
			t.Fatal(err)
		}
	}
	grant(clientv3.PermissionType(clientv3.PermRead), "v1/instances/")
	enableAuth(t, client)
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}, Username: reader, Password: "secret"}
	log, hook := logged()
	_, r := startWithMembers(t, etcd.WatcherConfig{Etcd: cfg, Log: log})
	testkit.Eventually(t, 30*time.Second, "the instances", func() bool { return r.Len() == 3 })
	testkit.Eventually(t, 30*time.Second, "the line", func() bool { return countLines(hook, "Members cannot be read") == 1 })
	if !r.Synced() {
		t.Errorf("the registry is %v, want synced", state(r))
	}
	if r.MembersRead() {
		t.Error("members count as read, and may not be")
	}

	// A frontend that may not write: it says so once, and asks again now and then only.
	front := newRegistrar(t, etcd.RegistrarConfig{Etcd: cfg, Log: log, Member: dynmesh.MemberInfo{Role: dynmesh.RoleFrontend}})
	start(t, front.Run)
	testkit.Eventually(t, 30*time.Second, "it holds a lease all the same", func() bool { return metric(t, front, "dynmesh_lease_renewals_total") >= 2 })
	if n := metric(t, front, "dynmesh_lease_failures_total"); n < 2 || n > 3 {
		t.Errorf("%v failures within seven seconds, want 2, or 3 where a call took too long", n)
	}
	if n := countLines(hook, "This process cannot be registered"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// Who may write its keys and not read them stays registered, and says so once.
func TestRegistrarWithoutRightToRead(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	ctx := context.Background()
	writer := addUser(t, client, "writer")
	for _, prefix := range []string{"v1/dynmesh/instances/", "v1/dynmesh/members/"} {
		if _, err := client.RoleGrantPermission(ctx, writer, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermWrite)); err != nil {
			t.Fatal(err)
		}
	}
	enableAuth(t, client)
	log, hook := logged()
	r := newRegistrar(t, etcd.RegistrarConfig{
		Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}, Username: writer, Password: "secret"}, Log: log,
	})
	if err := r.Add(dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, dynmesh.HTTPTransport("http://127.0.0.1:1/e")); err != nil {
		t.Fatal(err)
	}
	start(t, r.Run)
	testkit.Eventually(t, 60*time.Second, "the line", func() bool { return countLines(hook, "may not read the keys that it writes") == 1 })
	before, failures := metric(t, r, "dynmesh_lease_renewals_total"), metric(t, r, "dynmesh_lease_failures_total")
	testkit.Eventually(t, 60*time.Second, "three renewals more", func() bool { return metric(t, r, "dynmesh_lease_renewals_total") >= before+3 })
	if n := metric(t, r, "dynmesh_lease_failures_total"); n != failures {
		t.Errorf("%v failures after it was said, want none", n-failures)
	}
	if n := countLines(hook, "Registration cannot be kept up"); n > 1 {
		t.Errorf("%d lines of trouble, want 1 at most", n)
	}
}

// addUser adds a user without rights, whose role has the same name, and returns it.
func addUser(t *testing.T, client *clientv3.Client, name string) string {
	t.Helper()
	ctx := context.Background()
	if _, err := client.RoleAdd(ctx, name); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserAdd(ctx, name, "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(ctx, name, name); err != nil {
		t.Fatal(err)
	}
	return name
}
