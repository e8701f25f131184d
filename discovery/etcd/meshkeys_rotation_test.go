package etcd_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// A rotation goes step by step, and no step is taken before all have taken the one before. Who does
// not answer holds it up, is named, and is not cut off; run again, it goes on.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	members := []*keyed{startKeyed(t, configOf(server)), startKeyed(t, configOf(server)), startKeyed(t, etcd.Config{Endpoints: []string{"http://" + net.Addr()}})}
	for _, m := range members {
		awaitRegistered(t, m.Registrar)
		testkit.Eventually(t, 30*time.Second, "a key", func() bool { return m.key() != "" })
	}
	first := members[0].key()
	var mu sync.Mutex
	var said []string
	rotate := func(within time.Duration) error {
		return etcd.RotateKeysFaster(context.Background(), configOf(server), within, 100*time.Millisecond, func(line string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, line)
		})
	}
	net.Cut()
	want := "1 of 3 members did not understand the new key within 3s: worker " + members[2].ID().String() + " on h. Nobody is cut off: run it again to go on"
	testkit.Eventually(t, 60*time.Second, "one holds it up", func() bool { // where the machine is slow, others do at first
		err := rotate(3 * time.Second)
		if err == nil {
			t.Fatal("it goes on without one")
		}
		return strings.HasSuffix(err.Error(), want)
	})
	if key, _, _ := strings.Cut(members[0].key(), " "); key != first {
		t.Error("the new key is used before all understand it")
	}
	net.Heal()

	// Two at once do no more than one.
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			if err := rotate(time.Minute); err != nil {
				t.Errorf("run again: %v", err)
			}
		})
	}
	running.Wait()
	last := ""
	for _, m := range members {
		testkit.Eventually(t, 30*time.Second, "one key", func() bool { return m.key() != "" && !strings.Contains(m.key(), " ") && m.key() != first })
		if last == "" {
			last = m.key()
		}
		m.mu.Lock()
		want := [][]string{{first}, {first, last}, {last, first}, {last}}
		if !slices.EqualFunc(m.steps, want, slices.Equal) {
			t.Errorf("a member went through %d steps of other keys than want", len(m.steps))
		}
		m.mu.Unlock()
		m.secret(t)
	}
	if value, lease := meshValue(t, client); value != `{"key":"`+last+`"}` || lease != 0 {
		t.Errorf("at last etcd has %d bytes, under lease %d", len(value), lease)
	}
	text := strings.Join(said, "\n")
	for _, line := range []string{"3 of 3 members understand the new key", "3 of 3 members use the new key", "Done: nobody understands the old key any longer", "A rotation was begun before"} {
		if !strings.Contains(text, line) {
			t.Errorf("it did not say %q:\n%s", line, text)
		}
	}
	if strings.Contains(text, first) || strings.Contains(text, last) {
		t.Error("it prints a key")
	}
}

// Where there is no key, and nobody to be asked, a rotation puts one there.
func TestRotateKeysWithoutMembers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	var before string
	for n := range 2 {
		if err := etcd.RotateKeysFaster(context.Background(), configOf(server), time.Minute, 0, func(string) {}); err != nil {
			t.Fatal(err)
		}
		value, _ := meshValue(t, client)
		if v, err := meshkey.Decode([]byte(value)); err != nil || !v.Resting() || value == before {
			t.Errorf("rotation %d leaves %v, %v", n, v, err)
		}
		before = value
	}
	put, _ := writer(t, client)
	put(meshkey.Path, "rubbish")
	err := etcd.RotateKeysFaster(context.Background(), configOf(server), time.Minute, 0, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "is not the keys of a mesh") || strings.Contains(err.Error(), "rubbish") {
		t.Errorf("got %v", err)
	}
	if value, _ := meshValue(t, client); value != "rubbish" {
		t.Error("it overwrites what it does not understand")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := etcd.RotateKeys(ctx, etcd.Config{Endpoints: []string{"http://" + freeAddr(t)}}, time.Minute, func(string) {}); err == nil {
		t.Error("it succeeds without etcd")
	}
}

// overtaken is where somebody else is faster: between its first read and what follows from it.
type overtaken struct {
	clientv3.KV
	by func()
}

func (o *overtaken) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	r, err := o.KV.Get(ctx, key, opts...)
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return r, err
}

// What a member puts back while a rotation begins is replaced, too, and not taken for its end.
func TestRotateKeysThatAreJustPutBack(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	put, _ := writer(t, client)
	made, back := meshkey.New(), meshkey.New()
	put(meshkey.Path, made.Encode())
	client.KV = &overtaken{KV: client.KV, by: func() { put(meshkey.Path, back.Encode()) }}
	rotation := meshkey.Rotation{
		Client: client, Within: time.Minute, Say: func(string) {},
		Members: func(context.Context) ([]dynmesh.RegisteredMember, error) { return nil, nil },
	}
	if err := rotation.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	value, _ := meshValue(t, client)
	if v, err := meshkey.Decode([]byte(value)); err != nil || !v.Resting() || v.Key == back.Key || v.Key == made.Key {
		t.Errorf("it leaves %v, which were there before", v)
	}
}
