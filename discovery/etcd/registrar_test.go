package etcd_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestRegistrarRegistersAndDeregisters(t *testing.T) {
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	r := newRegistrar(t, etcd.RegistrarConfig{
		Etcd:   etcd.Config{Endpoints: []string{server.Endpoint()}},
		Member: dynmesh.MemberInfo{Host: "h1", SystemURL: "http://10.0.0.1:8081"},
	}, "generate", "embed")
	stop := start(t, r.Run)
	awaitRegistered(t, r)

	id := r.ID()
	keys := instanceKeys(t, client)
	want := `{"type":"Endpoint","component":"backend","endpoint":"generate","namespace":"dynamo","instance_id":`
	if got := keys["v1/dynmesh/instances/dynamo/backend/generate/"+id.String()]; len(keys) != 2 || !strings.HasPrefix(got, want) {
		t.Errorf("keys = %v, want two, generate's beginning %s", keys, want)
	}
	ctx := context.Background()
	ttl, err := client.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys())
	if err != nil || len(ttl.Keys) != 3 || ttl.GrantedTTL != 10 {
		t.Errorf("lease = %+v, %v, want 3 keys and a TTL of 10 s", ttl, err)
	}
	member, err := client.Get(ctx, r.MemberKey())
	if err != nil || member.Count != 1 || !strings.HasPrefix(string(member.Kvs[0].Value), `{"role":"worker","host":"h1"`) {
		t.Errorf("member = %v, %v", member, err)
	}

	// One more while it runs.
	late := dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "late"}
	if err := r.Add(late, dynmesh.HTTPTransport("http://10.0.0.1:9000")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 2*time.Second, "a third key", func() bool { return len(instanceKeys(t, client)) == 3 })

	stop()
	if held, registered := metric(t, r, "dynmesh_lease_held"), metric(t, r, "dynmesh_registered"); held != 0 || registered != 0 {
		t.Errorf("lease held %v, registered %v after the end, want 0: requests may go on for long, and metrics with them", held, registered)
	}
	if keys := instanceKeys(t, client); len(keys) != 0 {
		t.Errorf("after the end: %v, want no keys", keys)
	}
	if ttl, err := client.TimeToLive(ctx, clientv3.LeaseID(id)); err != nil || ttl.TTL != -1 {
		t.Errorf("after the end: lease %+v, %v, want none", ttl, err)
	}
}

func TestRegistrarRefuses(t *testing.T) {
	r := newRegistrar(t, etcd.RegistrarConfig{}, "generate")
	good := dynmesh.HTTPTransport("http://h:1")
	for _, tt := range []struct {
		name      string
		endpoint  dynmesh.Endpoint
		transport string
		want      string
	}{
		{"bad name", dynmesh.Endpoint{Namespace: "dynamo", Component: "back/end", Name: "x"}, string(good), "component name"},
		{"twice", dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, string(good), "added twice"},
		{"transport", dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "x"}, `"http://h:1"`, "transport is not an object"},
	} {
		if err := r.Add(tt.endpoint, []byte(tt.transport)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Add = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if _, err := etcd.NewRegistrar(etcd.RegistrarConfig{Member: dynmesh.MemberInfo{Host: strings.Repeat("h", 1<<16)}}); err == nil || !strings.Contains(err.Error(), "field Member") {
		t.Errorf("64 KiB of host: error %v, want one that names Member", err)
	}
	for _, ttl := range []time.Duration{-time.Second, time.Second, 2500 * time.Millisecond} {
		if _, err := etcd.NewRegistrar(etcd.RegistrarConfig{TTL: ttl}); err == nil || !strings.Contains(err.Error(), "TTL") {
			t.Errorf("TTL %v: error %v, want one that names it", ttl, err)
		}
	}
}

// Whatever takes the registration away, it comes back, under the same ID.
func TestRegistrarComesBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		within time.Duration
		fault  func(t *testing.T, client *clientv3.Client, r *etcd.Registrar)
	}{
		{"lease revoked by hand", 2 * time.Second, func(t *testing.T, client *clientv3.Client, r *etcd.Registrar) {
			if _, err := client.Revoke(context.Background(), clientv3.LeaseID(r.ID())); err != nil {
				t.Fatal(err)
			}
		}},
		{"all keys deleted by hand", 2 * time.Second, func(t *testing.T, client *clientv3.Client, r *etcd.Registrar) {
			if _, err := client.Delete(context.Background(), "v1/", clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
		}},
		{"key taken over by another lease", 20 * time.Second, func(t *testing.T, client *clientv3.Client, r *etcd.Registrar) {
			if testing.Short() {
				t.Skip("waits for the periodic check, up to 18 s: not with -short")
			}
			other, err := client.Grant(context.Background(), 5)
			if err != nil {
				t.Fatal(err)
			}
			key := "v1/dynmesh/instances/dynamo/backend/generate/" + r.ID().String()
			if _, err := client.Put(context.Background(), key, "mine", clientv3.WithLease(other.ID)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := startEtcd(t, localetcd.Config{})
			client := dial(t, server.Endpoint())
			r := newRegistrar(t, etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}}, "generate")
			start(t, r.Run)
			awaitRegistered(t, r)
			before := instanceKeys(t, client)

			tt.fault(t, client, r)
			began := time.Now()
			testkit.Eventually(t, tt.within, "the same key, value and lease", func() bool {
				after := instanceKeys(t, client)
				ttl, err := client.TimeToLive(context.Background(), clientv3.LeaseID(r.ID()), clientv3.WithAttachedKeys())
				return err == nil && len(ttl.Keys) == 2 && len(after) == 1 && maps.Equal(after, before)
			})
			t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// etcd stops for longer than the TTL and returns, with its disk and without.
func TestRegistrarSurvivesEtcdRestart(t *testing.T) {
	for _, wiped := range []bool{false, true} {
		name := "same disk"
		if wiped {
			name = "empty disk"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			server := startEtcd(t, localetcd.Config{Dir: dir})
			log, hook := logged()
			r := newRegistrar(t, etcd.RegistrarConfig{
				Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, TTL: 2 * time.Second, Log: log,
			}, "generate")
			start(t, r.Run)
			awaitRegistered(t, r)
			before := instanceKeys(t, dial(t, server.Endpoint()))

			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 10*time.Second, "the lease counts as not held, and calls fail", func() bool {
				return metric(t, r, "dynmesh_lease_held") == 0 && metric(t, r, "dynmesh_lease_failures_total") > 0
			})
			if metric(t, r, "dynmesh_registered") != 0 {
				t.Error("its keys count as registered, and the lease that they hang on as not held")
			}
			if wiped {
				dir = t.TempDir()
			}
			again := startEtcd(t, localetcd.Config{Dir: dir, ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
			client := dial(t, again.Endpoint())
			testkit.Eventually(t, 10*time.Second, "the same keys, and a lease that is renewed", func() bool {
				return maps.Equal(instanceKeys(t, client), before) && metric(t, r, "dynmesh_lease_held") == 1 &&
					metric(t, r, "dynmesh_registered") == 1
			})
			if n := countLines(hook, "Registration cannot be kept up"); n != 1 {
				t.Errorf("the outage was announced %d times, want once", n)
			}
			if wiped && countLines(hook, "Registered again under the same ID") != 1 {
				t.Error("the return was not announced")
			}
		})
	}
}

// A network that goes silent outlasts the lease: etcd drops the keys, and they return with it.
func TestRegistrarSurvivesSilence(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}, TTL: 2 * time.Second}, "generate")
	start(t, r.Run)
	awaitRegistered(t, r)
	before := instanceKeys(t, client)

	net.Cut()
	testkit.Eventually(t, 10*time.Second, "the lease to expire", func() bool { return len(instanceKeys(t, client)) == 0 })
	net.Heal()
	testkit.Eventually(t, 10*time.Second, "the same keys again", func() bool { return maps.Equal(instanceKeys(t, client), before) })
	if n := metric(t, r, "dynmesh_lease_grants_total"); n != 2 {
		t.Errorf("%v grants, want 2", n)
	}
}

// A worker may start before etcd does.
func TestRegistrarWaitsForEtcd(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + addr}}}, "generate")
	start(t, r.Run)
	testkit.Eventually(t, 5*time.Second, "a failed attempt", func() bool { return metric(t, r, "dynmesh_lease_failures_total") > 0 })
	server := startEtcd(t, localetcd.Config{ClientAddr: addr})
	awaitRegistered(t, r)
	if keys := instanceKeys(t, dial(t, server.Endpoint())); len(keys) != 1 {
		t.Errorf("keys = %v, want one", keys)
	}
}

// An etcd that is away must not hold up the end, not even where a password is to be exchanged for a
// token anew.
func TestRegistrarEndsWithoutEtcd(t *testing.T) {
	for _, user := range []string{"", "root"} {
		t.Run("user "+user, func(t *testing.T) {
			t.Parallel()
			server := startEtcd(t, localetcd.Config{})
			net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
			cfg := etcd.Config{Endpoints: []string{"http://" + net.Addr()}}
			if user != "" {
				enableAuth(t, dial(t, server.Endpoint()))
				cfg.Username, cfg.Password = user, "secret"
			}
			r := newRegistrar(t, etcd.RegistrarConfig{Etcd: cfg, TTL: 2 * time.Second}, "generate")
			stop := start(t, r.Run)
			awaitRegistered(t, r)
			net.Cut()
			testkit.Eventually(t, 10*time.Second, "a call that fails", func() bool { return metric(t, r, "dynmesh_lease_failures_total") > 0 })
			<-time.After(time.Second) // for the next one to be under way
			pace, began := testkit.Paced(t), time.Now()
			stop()
			if d := pace.Since(began); d > 4*time.Second {
				t.Errorf("the end took %v, want 3 s at most and a little", d)
			}
		})
	}
}

// etcd forgets its tokens when it restarts, as when they expire. The registrar authenticates anew.
func TestRegistrarWithPasswordOutlivesItsToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startEtcd(t, localetcd.Config{Dir: dir})
	enableAuth(t, dial(t, server.Endpoint()))
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}, Username: "root", Password: "secret"}
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: cfg, TTL: 5 * time.Second}, "generate")
	start(t, r.Run)
	awaitRegistered(t, r)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	startEtcd(t, localetcd.Config{Dir: dir, ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
	renewals := metric(t, r, "dynmesh_lease_renewals_total")
	testkit.Eventually(t, 15*time.Second, "two renewals with a new token", func() bool {
		return metric(t, r, "dynmesh_lease_renewals_total") >= renewals+2 && metric(t, r, "dynmesh_registered") == 1
	})
}

func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := context.Background()
	if _, err := client.RoleAdd(ctx, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserAdd(ctx, "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}

// "Deadline exceeded" alone tells nobody which address is wrong. Where a process gets no processor
// for as long as its first attempt takes, there is nothing to be named yet: another one has.
func TestFailedRegistrationNamesWhatRefuses(t *testing.T) {
	t.Parallel()
	named := func() bool {
		nobody := freeAddr(t)
		log, hook := logged()
		r := newRegistrar(t, etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + nobody}}, Log: log}, "generate")
		stop := start(t, r.Run)
		defer stop()
		var why error
		testkit.Eventually(t, 60*time.Second, "a line that says so", func() bool {
			for _, e := range hook.AllEntries() {
				if strings.Contains(e.Message, "Registration cannot be kept up") {
					why, _ = e.Data["err"].(error)
				}
			}
			return why != nil
		})
		return strings.Contains(why.Error(), nobody+": connect: connection refused")
	}
	for range 5 {
		if named() {
			return
		}
	}
	t.Error("no line names what refuses")
}

// A process is known before its instances are to be used: members believe those that are
// registered.
func TestRegistrarPutsTheMemberFirst(t *testing.T) {
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	r := newRegistrar(t, etcd.RegistrarConfig{
		Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Member: dynmesh.MemberInfo{Host: "h1"}, MemberFirst: true,
	}, "generate")
	start(t, r.Run)
	testkit.Eventually(t, 10*time.Second, "its member", func() bool {
		member, err := client.Get(t.Context(), r.MemberKey())
		return err == nil && member.Count == 1
	})
	select {
	case <-r.Registered():
		t.Error("it calls itself registered without its instance")
	default:
	}
	if keys, registered := instanceKeys(t, client), metric(t, r, "dynmesh_registered"); len(keys) != 0 || registered != 0 {
		t.Errorf("keys = %v, registered %v, want none", keys, registered)
	}
	late := dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "late"}
	if err := r.Add(late, dynmesh.HTTPTransport("http://10.0.0.1:9000")); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(late, dynmesh.HTTPTransport("http://10.0.0.1:9000")); err == nil {
		t.Error("an instance was added twice")
	}
	r.Publish()
	awaitRegistered(t, r)
	if keys := instanceKeys(t, client); len(keys) != 2 {
		t.Errorf("keys = %v, want two", keys)
	}
}
