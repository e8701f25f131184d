package etcd_test

import (
	"context"
	"encoding/json"
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

// The source reaches etcd through a network that can go silent; the test writes past it.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for grace periods to end, up to 20 s: not with -short")
	}
	sourcetest.Test(t, func(t *testing.T) sourcetest.Registry {
		server := startEtcd(t, localetcd.Config{})
		client := dial(t, server.Endpoint())
		net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
		watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}, Members: true, Cards: true})
		if err != nil {
			t.Fatal(err)
		}
		watcher.SetTiming(100*time.Millisecond, staleAfter)

		ctx := context.Background()
		commit := func(ops ...clientv3.Op) {
			t.Helper()
			for len(ops) > 0 {
				n := min(len(ops), 100) // etcd's limit is 128
				if _, err := client.Txn(ctx).Then(ops[:n]...).Commit(); err != nil {
					t.Fatal(err)
				}
				ops = ops[n:]
			}
		}
		memberKey := func(id dynmesh.InstanceID) string { return "v1/dynmesh/members/" + id.String() }
		cardKey := func(key dynmesh.CardKey) string {
			return strings.Replace(key.String(), "v1/instances/", "v1/mdc/", 1)
		}
		return sourcetest.Registry{
			Source: watcher,
			Put: func(all ...dynmesh.Instance) {
				var ops []clientv3.Op
				for _, i := range all {
					ops = append(ops, clientv3.OpPut(i.String(), string(i.Value())))
				}
				commit(ops...)
			},
			Delete: func(keys ...dynmesh.InstanceKey) {
				var ops []clientv3.Op
				for _, key := range keys {
					ops = append(ops, clientv3.OpDelete(key.String()))
				}
				commit(ops...)
			},
			Spoil: func(key dynmesh.InstanceKey) { commit(clientv3.OpPut(key.String(), "junk")) },
			PutMember: func(m dynmesh.RegisteredMember) {
				value, err := json.Marshal(m.MemberInfo)
				if err != nil {
					t.Fatal(err)
				}
				commit(clientv3.OpPut(memberKey(m.ID), string(value)))
			},
			DeleteMember: func(id dynmesh.InstanceID) { commit(clientv3.OpDelete(memberKey(id))) },
			SpoilMember:  func(id dynmesh.InstanceID) { commit(clientv3.OpPut(memberKey(id), "junk")) },
			PutCard:      func(key dynmesh.CardKey, value []byte) { commit(clientv3.OpPut(cardKey(key), string(value))) },
			DeleteCard:   func(key dynmesh.CardKey) { commit(clientv3.OpDelete(cardKey(key))) },
			SpoilCard:    func(key dynmesh.CardKey) { commit(clientv3.OpPut(cardKey(key), "junk")) },
			Cut:          net.Cut,
			Heal:         net.Heal,
			Interrupt:    net.Reset,
			Compact: func() {
				now, err := client.Get(ctx, "x")
				if err == nil {
					_, err = client.Compact(ctx, now.Header.Revision)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			StaleAfter: staleAfter,
			Grace:      20 * time.Second,
		}
	})
}
