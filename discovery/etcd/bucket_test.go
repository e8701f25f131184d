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
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Both buckets are one set: what is in both is listed once, and stays until it is in neither.
func TestWatcherReadsBothBuckets(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	ctx := context.Background()
	put := func(key, transport string) {
		t.Helper()
		value := `{"component":"c","endpoint":"e","namespace":"n","instance_id":1,"transport":{"tcp":"` + transport + `"}}`
		if _, err := client.Put(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(key string) {
		t.Helper()
		if _, err := client.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	const dynamos, own = "v1/instances/n/c/e/1", "v1/dynmesh/instances/n/c/e/1"
	put(dynamos, "a")
	put(own, "b")
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: 1}
	transport := func() string { return string(v.Instances()[key].Transport) }
	is := func(want string) {
		t.Helper()
		testkit.Eventually(t, 5*time.Second, "transport "+want, func() bool {
			return v.Synced() && v.Len() == 1 && transport() == `{"tcp":"`+want+`"}`
		})
	}
	is("a")
	put(own, "c")
	is("c")
	remove(own)
	is("a")
	put(own, "d")
	is("d")
	remove(dynamos) // nothing changes
	put(own, "e")
	is("e")
	put(dynamos, "f")
	is("f")
	put(dynamos, "\n") // no JSON string: spoilt
	is("e")
	remove(own)
	testkit.Eventually(t, 5*time.Second, "the end", func() bool { return v.Len() == 0 })
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

// Model cards come beside the instances, change, and go.
func TestWatcherFollowsCards(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	ctx := context.Background()
	const key = "v1/mdc/n/c/e/1"
	put := func(key, model string) {
		t.Helper()
		value := `{"type":"Model","namespace":"n","component":"c","endpoint":"e","instance_id":1,"card_json":{"display_name":"` + model + `"}}`
		if _, err := client.Put(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	put(key, "a")
	_, v := startWatcher(t, etcd.WatcherConfig{Cards: true, Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	is := func(want string) {
		t.Helper()
		testkit.Eventually(t, 5*time.Second, "cards "+want, func() bool {
			var models []string
			for _, c := range v.Cards() {
				models = append(models, c.Model)
			}
			slices.Sort(models)
			return strings.Join(models, " ") == want
		})
	}
	is("a")
	put(key+"/tuned", "b")
	is("a b")
	put(key, "c")
	is("b c")
	if _, err := client.Delete(ctx, key+"/tuned"); err != nil {
		t.Fatal(err)
	}
	is("c")
	if _, err := client.Put(ctx, key, "junk"); err != nil {
		t.Fatal(err)
	}
	is("")
	testkit.Eventually(t, 5*time.Second, "the reject", func() bool { return len(v.Rejects().Entries) == 1 })
}
