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
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// The keys of one instance in both buckets.
const dynamos, own = "v1/instances/n/c/e/1", "v1/dynmesh/instances/n/c/e/1"

// at is what a worker at an address puts there.
func at(address string) string {
	return `{"component":"c","endpoint":"e","namespace":"n","instance_id":1,"transport":{"tcp":"` + address + `"}}`
}

// awaitAt waits until v lists the instance alone, at an address.
func awaitAt(t *testing.T, v *sourcetest.View, within time.Duration, address string) {
	t.Helper()
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: 1}
	testkit.Eventually(t, within, "transport "+address, func() bool {
		return v.Synced() && v.Len() == 1 && string(v.Instances()[key].Transport) == `{"tcp":"`+address+`"}`
	})
}

// Both buckets are one set: what is in both is listed once, and stays until it is in neither.
func TestWatcherReadsBothBuckets(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	put, remove := writer(t, dial(t, server.Endpoint()))
	put(dynamos, at("a"))
	put(own, at("b"))
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	is := func(address string) {
		t.Helper()
		awaitAt(t, v, 5*time.Second, address)
	}
	is("a")
	put(own, at("c"))
	is("c")
	remove(own)
	is("a")
	put(own, at("d"))
	is("d")
	remove(dynamos) // nothing changes
	put(own, at("e"))
	is("e")
	put(dynamos, at("f"))
	is("f")
	put(dynamos, "junk")
	is("e")
	remove(own)
	testkit.Eventually(t, 5*time.Second, "the end", func() bool { return v.Len() == 0 })
}

// What has gone from one bucket while etcd was away is listed as the other has it, though nothing
// is written any more; and what has gone from both goes once.
func TestWatcherReadsBothBucketsAfterSilence(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	put, remove := writer(t, dial(t, server.Endpoint()))
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	put(dynamos, at("a"))
	put(own, at("b"))
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}})
	awaitAt(t, v, 5*time.Second, "a")
	silence := func(changes func()) {
		t.Helper()
		net.Cut()
		testkit.Eventually(t, 5*time.Second, "stale", func() bool { return state(v) == dynmesh.Stale })
		changes()
		net.Heal()
	}
	silence(func() { remove(dynamos) })
	awaitAt(t, v, 15*time.Second, "b")
	put(dynamos, at("c"))
	awaitAt(t, v, 5*time.Second, "c")
	silence(func() { remove(dynamos); remove(own) })
	testkit.Eventually(t, 15*time.Second, "the end", func() bool { return v.Synced() && v.Len() == 0 })
}

// A user who may not read dynmesh's own bucket sees Dynamo's, and is told so once.
func TestWatcherWithoutRightToReadOwnBucket(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	putInstances(t, client, 1, 3)
	reader := addUser(t, client, "reader")
	read := clientv3.PermissionType(clientv3.PermRead)
	const prefix = "v1/instances/"
	if _, err := client.RoleGrantPermission(context.Background(), reader, prefix, clientv3.GetPrefixRangeEnd(prefix), read); err != nil {
		t.Fatal(err)
	}
	enableAuth(t, client)
	log, hook := logged()
	_, v := startWatcher(t, etcd.WatcherConfig{Log: log, Cards: true, Etcd: etcd.Config{
		Endpoints: []string{server.Endpoint()}, Username: reader, Password: "secret",
	}})
	testkit.Eventually(t, 30*time.Second, "the instances", func() bool { return v.Synced() && v.Len() == 3 })
	testkit.Eventually(t, 30*time.Second, "both lines", func() bool {
		return countLines(hook, "etcd's user may not read this") == 1 && countLines(hook, "Model cards cannot be read") == 1
	})
}

func TestRegistrarRegistersInDynamosBucket(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	r := newRegistrar(t, etcd.RegistrarConfig{
		Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Bucket: etcd.BucketDynamo,
	}, "generate")
	start(t, r.Run)
	awaitRegistered(t, r)
	for key := range instanceKeys(t, client) {
		if want := "v1/instances/dynamo/backend/generate/" + r.ID().String(); key != want {
			t.Errorf("key = %s, want %s", key, want)
		}
	}
	_, err := etcd.NewRegistrar(etcd.RegistrarConfig{Bucket: "v2"})
	if err == nil || !strings.Contains(err.Error(), `field Bucket is "v2": want dynmesh or dynamo`) {
		t.Errorf("NewRegistrar with a bucket of no kind = %v", err)
	}
}

// The card of an adapter stands beside its instance's, and goes alone.
func TestWatcherFollowsCardsOfAdapters(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	put, remove := writer(t, dial(t, server.Endpoint()))
	const key = "v1/mdc/n/c/e/1"
	card := func(model string) string {
		return `{"type":"Model","namespace":"n","component":"c","endpoint":"e","instance_id":1,"card_json":{"display_name":"` + model + `"}}`
	}
	put(key, card("a"))
	_, v := startWatcher(t, etcd.WatcherConfig{Cards: true, Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	is := func(want string) {
		t.Helper()
		testkit.Eventually(t, 5*time.Second, "cards "+want, func() bool {
			var models []string
			for k, c := range v.Cards() {
				models = append(models, k.LoRA+"="+c.Model)
			}
			slices.Sort(models)
			return strings.Join(models, " ") == want
		})
	}
	is("=a")
	put(key+"/tuned", card("b"))
	is("=a tuned=b")
	remove(key + "/tuned")
	is("=a")
}
