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
	root := dialAs(t, server.Endpoint())
	put := func(v meshkey.Value) {
		t.Helper()
		if _, err := root.Put(ctx, meshkey.Path, v.Encode()); err != nil {
			t.Fatal(err)
		}
	}
	held := meshkey.New()
	put(held)
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
	put(other)
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
	put(later)
	testkit.Eventually(t, 30*time.Second, "what is older", func() bool { return m.key() == later.Key })
	ahead := made(-time.Hour)
	put(ahead)
	testkit.Eventually(t, 30*time.Second, "what is of a clock that is ahead", func() bool { return m.key() == ahead.Key })
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, step := range m.steps[len(m.steps)-2:] {
		if len(step) != 1 {
			t.Error("what was not made just now is understood beside the old one")
		}
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

// Others' keys are understood no longer than they are in etcd.
func TestKeysOfARivalThatIsGone(t *testing.T) {
	t.Parallel()
	client := dial(t, startEtcd(t, localetcd.Config{}).Endpoint())
	log, _ := logged()
	var told []string
	k := meshkey.NewKeeper(func(keys []string, _ error) { told = keys }, log)
	take := func(v meshkey.Value) { k.Take(&mvccpb.KeyValue{Value: []byte(v.Encode()), ModRevision: 1}) }
	own, others := meshkey.New(), meshkey.New()
	others.Made = time.Now().Unix()
	take(own)
	take(others)
	if want := append(own.Keys(), others.Key); !slices.Equal(told, want) || k.Wants() == 0 {
		t.Fatalf("it has %d keys, want 2", len(told))
	}
	kv, err := k.Provide(context.Background(), client, false)
	if err != nil || kv == nil {
		t.Fatalf("got %v, %v", kv != nil, err)
	}
	if k.Take(kv); !slices.Equal(told, own.Keys()) || k.Wants() != 0 {
		t.Errorf("it has %d keys, want its own", len(told))
	}
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
