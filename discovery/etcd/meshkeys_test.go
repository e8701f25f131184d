package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// keyed is a registrar that follows the mesh's keys, and what it was told of them.
type keyed struct {
	*etcd.Registrar
	hook *test.Hook
	stop func()

	mu    sync.Mutex
	keys  []string // of the last time
	steps [][]string
	lacks []string
}

func startKeyed(t *testing.T, cfg etcd.Config) *keyed {
	t.Helper()
	return startKeyedFor(t, cfg, time.Minute)
}

func startKeyedFor(t *testing.T, cfg etcd.Config, ttl time.Duration) *keyed {
	t.Helper()
	log, hook := logged()
	k := &keyed{hook: hook}
	k.Registrar = newRegistrar(t, etcd.RegistrarConfig{
		Etcd: cfg, TTL: ttl, Log: log, Keys: k.update, Member: dynmesh.MemberInfo{Host: "h", GossipKey: dynmesh.KeyOfRegistry},
	}, "generate")
	k.stop = start(t, k.Run)
	return k
}

func (k *keyed) update(keys []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.lacks = append(k.lacks, err.Error())
		return
	}
	k.keys = keys
	k.steps = append(k.steps, keys)
}

// key returns those that it has, the one that encrypts first; empty: none.
func (k *keyed) key() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.keys, " ")
}

// lack returns why it had none, the last time.
func (k *keyed) lack() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.lacks) == 0 {
		return ""
	}
	return k.lacks[len(k.lacks)-1]
}

// secret fails where something that was logged has a key in it.
func (k *keyed) secret(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range k.hook.AllEntries() {
		text := line.Message + fmt.Sprint(line.Data)
		for _, keys := range k.steps {
			for _, key := range keys {
				if strings.Contains(text, key) {
					t.Errorf("a key is logged: %s", text)
				}
			}
		}
	}
}

func meshValue(t *testing.T, client *clientv3.Client) (value string, lease int64) {
	t.Helper()
	r, err := client.Get(context.Background(), meshkey.Path)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return "", 0
	}
	return string(r.Kvs[0].Value), r.Kvs[0].Lease
}

// heldKeys returns the keys of a value, as a keyed has them; empty: it has none.
func heldKeys(t *testing.T, value string) string {
	t.Helper()
	if value == "" {
		return ""
	}
	v, err := meshkey.Decode([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(v.Keys(), " ")
}

func configOf(s *localetcd.Server) etcd.Config {
	return etcd.Config{Endpoints: []string{s.Endpoint()}}
}

// Of many that are the first at the same time, one makes the key, and all have that one. It
// outlives them.
func TestFirstMembersAgreeOnAKey(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	members := make([]*keyed, 12)
	for n := range members {
		members[n] = startKeyed(t, configOf(server))
	}
	made := 0
	for _, m := range members {
		testkit.Eventually(t, 30*time.Second, "a key", func() bool { return m.key() != "" })
		awaitRegistered(t, m.Registrar)
		made += countLines(m.hook, "The mesh had no gossip key")
	}
	for _, m := range members {
		if m.key() != members[0].key() || strings.Contains(m.key(), " ") {
			t.Error("members have different keys, or several")
		}
		m.secret(t)
		m.stop()
	}
	if made != 1 {
		t.Errorf("%d say that they have made it, want 1", made)
	}
	value, lease := meshValue(t, client)
	if held := heldKeys(t, value); held != members[0].key() || lease != 0 {
		t.Errorf("when all have gone, etcd has %d bytes under lease %d", len(value), lease)
	}
	if v, err := meshkey.Decode([]byte(value)); err != nil || time.Since(time.Unix(v.Made, 0)).Abs() > 5*time.Minute {
		t.Errorf("it does not say when it was made: %v, %v", v.Made, err)
	}
	late := startKeyed(t, configOf(server))
	testkit.Eventually(t, 30*time.Second, "the same", func() bool { return late.key() == members[0].key() })
}

// Somebody deletes the keys, or puts something else in their place, or etcd loses all that it had.
func TestKeysAreTamperedWith(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	put, remove := writer(t, client)
	a, b := startKeyed(t, configOf(server)), startKeyed(t, configOf(server))
	for _, m := range []*keyed{a, b} {
		testkit.Eventually(t, 30*time.Second, "a key", func() bool { return m.key() != "" })
	}
	first := a.key()

	remove(meshkey.Path)
	testkit.Eventually(t, 30*time.Second, "put back", func() bool { now, _ := meshValue(t, client); return heldKeys(t, now) == first })
	if a.key() != first || b.key() != first {
		t.Error("members have other keys after the entry was gone")
	}

	put(meshkey.Path, `{"key":"rubbish"}`)
	for _, m := range []*keyed{a, b} {
		testkit.Eventually(t, 30*time.Second, "it is noticed", func() bool { return strings.Contains(m.lack(), "key 1 of 1 is not base64") })
		if m.key() != first || countLines(m.hook, "going on with those that were there") != 1 {
			t.Errorf("of rubbish, it logs %d lines", countLines(m.hook, "going on with those that were there"))
		}
	}
	late := startKeyed(t, configOf(server)) // it has nothing to go on with
	testkit.Eventually(t, 30*time.Second, "it is told so", func() bool { return late.lack() != "" })
	awaitRegistered(t, late.Registrar)
	if late.key() != "" || countLines(late.hook, "This member does not gossip") != 1 {
		t.Error("it goes on with rubbish, or does not say so")
	}
	if now, _ := meshValue(t, client); now != `{"key":"rubbish"}` {
		t.Error("a member overwrites what it does not understand")
	}

	remove(meshkey.Path) // as docs say: those that have keys, or the one that has none, put one there
	for _, m := range []*keyed{a, b, late} {
		testkit.Eventually(t, 30*time.Second, "a key for all", func() bool { return m.key() != "" && m.key() == late.key() })
	}

	others := meshkey.New()
	put(meshkey.Path, others.Encode())
	for _, m := range []*keyed{a, b, late} {
		testkit.Eventually(t, 30*time.Second, "another mesh's key is this one's now", func() bool { return m.key() == others.Key })
	}

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again := startEtcd(t, localetcd.Config{ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
	client = dial(t, again.Endpoint())
	testkit.Eventually(t, 60*time.Second, "an emptied etcd has it again", func() bool { now, _ := meshValue(t, client); return heldKeys(t, now) == others.Key })
	for _, m := range []*keyed{a, b, late} {
		if m.key() != others.Key {
			t.Error("a member has another key since etcd was emptied")
		}
		m.secret(t)
	}
}

// etcd comes back empty, and one that starts is the first there: it makes a key. Those that have
// one already never use it, and put theirs in its place.
func TestKeysOutliveAnEmptiedEtcd(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	var old []*keyed
	for range 3 {
		m := startKeyedFor(t, configOf(server), 6*time.Second) // a renewal tells, where the watch does not
		old = append(old, m)
		testkit.Eventually(t, 30*time.Second, "a key", func() bool { return m.key() != "" })
	}
	first := old[0].key()

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	server = startEtcd(t, localetcd.Config{ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
	client := dial(t, server.Endpoint())
	made := meshkey.New() // by a clock that is ahead: so others may take the longest
	made.Made = time.Now().Add(meshkey.Contested - time.Second).Unix()
	put, _ := writer(t, client)
	put(meshkey.Path, made.Encode())
	late := startKeyed(t, configOf(server))

	testkit.Eventually(t, 60*time.Second, "all have the old key alone", func() bool {
		value, _ := meshValue(t, client)
		all := heldKeys(t, value) == first && late.key() == first
		for _, m := range old {
			all = all && m.key() == first
		}
		return all
	})
	said := 0
	for _, m := range old {
		said += countLines(m.hook, "has made others")
		m.mu.Lock()
		for _, step := range m.steps {
			if step[0] != first {
				t.Error("a member that had the old key used the new one")
			}
		}
		m.mu.Unlock()
		m.secret(t)
	}
	if said != 1 {
		t.Errorf("%d say that they have put the old keys back, want 1", said)
	}
	late.secret(t)
	if value, _ := meshValue(t, client); strings.Contains(value, "made") {
		t.Error("the old key stands there as one that gives way")
	}
}

// contest is a keeper of its own keys that has found others in etcd.
type contest struct {
	*meshkey.Keeper
	own, others meshkey.Value
	told        []string
}

func newContest(t *testing.T, made time.Time) *contest {
	t.Helper()
	c := &contest{own: meshkey.New(), others: meshkey.New()}
	c.others.Made = made.Unix()
	log, _ := logged()
	c.Keeper = meshkey.NewKeeper(func(keys []string, _ error) { c.told = keys }, log)
	for _, v := range []meshkey.Value{c.own, c.others} {
		c.Take(&mvccpb.KeyValue{Value: []byte(v.Encode()), ModRevision: 1})
	}
	if want := append(c.own.Keys(), c.others.Key); !slices.Equal(c.told, want) || c.Wants() == 0 {
		t.Fatalf("it has %d keys, want 2", len(c.told))
	}
	return c
}

// ends fails unless the keeper has its own keys alone once it has looked.
func (c *contest) ends(t *testing.T, client *clientv3.Client, held bool) {
	t.Helper()
	kv, err := c.Provide(context.Background(), client, held)
	if err != nil || kv == nil {
		t.Fatalf("got %v, %v", kv != nil, err)
	}
	if c.Take(kv); !slices.Equal(c.told, c.own.Keys()) || c.Wants() != 0 {
		t.Errorf("it has %d keys, want its own", len(c.told))
	}
}

// Others' keys are understood no longer than they are in etcd.
func TestKeysOfARivalThatIsGone(t *testing.T) {
	t.Parallel()
	client := dial(t, startEtcd(t, localetcd.Config{}).Endpoint())
	newContest(t, time.Now()).ends(t, client, false)
}

// A rival's keys that somebody has replaced since they were read are not taken over when their time
// is over: what etcd holds then is.
func TestKeysOfARivalThatIsReplaced(t *testing.T) {
	t.Parallel()
	client := dial(t, startEtcd(t, localetcd.Config{}).Endpoint())
	c := newContest(t, time.Now().Add(5*time.Second-meshkey.Contested))
	put, _ := writer(t, client)
	put(meshkey.Path, c.own.Encode()) // as another member does
	over := time.Unix(c.others.Made, 0).Add(meshkey.Contested)
	testkit.Eventually(t, time.Minute, "the time is over", func() bool { return !time.Now().Before(over) })
	c.ends(t, client, true)
}

// Who starts before etcd has its key as soon as etcd is there.
func TestKeysWaitForEtcd(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	m := startKeyed(t, etcd.Config{Endpoints: []string{"http://" + addr}})
	testkit.Eventually(t, 10*time.Second, "a failed attempt", func() bool { return metric(t, m.Registrar, "dynmesh_lease_failures_total") > 0 })
	if m.key() != "" {
		t.Error("it has a key without etcd")
	}
	startEtcd(t, localetcd.Config{ClientAddr: addr})
	testkit.Eventually(t, 30*time.Second, "a key", func() bool { return m.key() != "" })
	awaitRegistered(t, m.Registrar)
}
