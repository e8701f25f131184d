package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// local starts a pool on loopback sockets, and ends it with the test.
func local(t *testing.T, edit func(*Config)) *peer {
	t.Helper()
	log := &testkit.Buffer{}
	logger := logrus.New()
	logger.SetOutput(log)
	cfg := Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: Unencrypted(), Log: logrus.NewEntry(logger)}
	if edit != nil {
		edit(&cfg)
	}
	cfg.Identity = cmp.Or(cfg.Identity, identityOf(dynmesh.InstanceID(rand.Uint64()>>1)))
	pool, err := newPool(cfg, swim.Sockets{}, belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		Pool: pool, ended: make(chan struct{}), log: log, members: map[dynmesh.InstanceID]dynmesh.Member{},
		observations: map[dynmesh.ObservationKey]dynmesh.Observation{}, paths: map[dynmesh.ObservationKey]dynmesh.Observation{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	pool.Changed()
	go func() {
		p.err = pool.Run(ctx)
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *peer) stop(t *testing.T) {
	pace, begun := testkit.Paced(t), time.Now()
	p.end()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Errorf("%s did not end", p.Self().ID)
	}
	if d := pace.Since(begun); p.err != nil || d > leaveTimeout+time.Second {
		t.Errorf("%s ended with %v after %v", p.Self().ID, p.err, d)
	}
}

func TestPoolsOnSockets(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{false, true} {
		t.Run(fmt.Sprint("keyed=", keyed), func(t *testing.T) {
			var first *peer
			start := func() *peer {
				return local(t, func(c *Config) {
					if first != nil {
						c.Join = []string{first.Addr()}
					}
					if keyed {
						c.Keyring, _ = NewKeyring(key('a'))
					}
				})
			}
			first = start()
			second, third := start(), start()
			peers := []*peer{first, second, third}
			for _, p := range peers {
				testkit.Eventually(t, 20*time.Second, "met", func() bool { return p.alive() == 3 })
			}
			about := canaryOf(second.Self().ID, "generate", dynmesh.Pass)
			second.Observe(about)
			testkit.Eventually(t, 20*time.Second, "known to all", func() bool { return agree(peers...) && len(third.observations) == 1 })
			second.Withdraw(about.Subject)
			testkit.Eventually(t, 20*time.Second, "withdrawn for all", func() bool { return agree(peers...) && len(third.observations) == 0 })
			third.stop(t)
			testkit.Eventually(t, 20*time.Second, "left", func() bool { return first.state(third.Self().ID) == dynmesh.Left })

			// It comes back at the same address, and finds the others though nobody told it of
			// them: they ask it.
			again := local(t, func(c *Config) {
				c.Bind, c.Identity, c.Join, c.Keyring = third.Addr(), identityOf(third.Self().ID), []string{first.Addr()}, first.cfg.Keyring
			})
			testkit.Eventually(t, 20*time.Second, "back", func() bool {
				first.read()
				return first.members[again.Self().ID].Observer == again.Self() && again.alive() == 3
			})
			for _, p := range peers {
				if r := rejectedBy(p); len(r) > 0 {
					t.Errorf("%s rejected %v", p.Self().ID, r)
				}
				if strings.Contains(p.log.String(), "level=error") || strings.Contains(p.log.String(), "level=warning") {
					t.Errorf("the log is not quiet:\n%s", p.log)
				}
			}
		})
	}
}

func TestTripwireIsHeldUntilTheProcessEnds(t *testing.T) {
	t.Parallel()
	p := local(t, nil)
	other := local(t, nil)
	wire, err := other.node.OpenTripwire(t.Context(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = wire.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var b [1]byte
	if _, err := wire.Read(b[:]); err == nil || !err.(net.Error).Timeout() { //nolint:errorlint // of a connection
		t.Errorf("reading from a tripwire: %v", err)
	}
	_ = wire.SetReadDeadline(time.Time{})
	p.stop(t)
	if _, err := wire.Read(b[:]); err == nil {
		t.Error("the tripwire is held by a pool that has ended")
	}
	if _, err := other.node.OpenTripwire(t.Context(), p.Addr()); err == nil {
		t.Error("a pool that has ended takes tripwires")
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for want, c := range map[string]Config{
		"ProbeVia":  {Role: dynmesh.RoleFrontend, Bind: "127.0.0.1:0", ProbeVia: "dynamo:8000"},
		"Role":      {},
		"Bind":      {Role: dynmesh.RoleWorker, Bind: "nonsense"},
		"Advertise": {Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Advertise: "0.0.0.0"},
		"Join":      {Role: dynmesh.RoleWorker, Join: []string{"here"}},
		"Label":     {Role: dynmesh.RoleWorker, Label: strings.Repeat("x", 65)},
		"Service":   {Role: dynmesh.RoleWorker, Service: "8000"},
		"LeaseTTL":  {Role: dynmesh.RoleWorker, LeaseTTL: -time.Second},
		"Keyring":   {Role: dynmesh.RoleWorker, Keyring: &Keyring{}},
	} {
		p, err := NewPool(c)
		if err == nil {
			_ = p.Close()
		}
		if wrong, ok := errors.AsType[*dynmesh.ConfigError](err); !ok || wrong.Config != "gossip" || wrong.Field != want {
			t.Errorf("got %v, want an error of the field %s", err, want)
		}
	}
}

func TestAddrIsTrueFromTheBeginning(t *testing.T) {
	for advertise, want := range map[string]string{
		"": "127.0.0.1:PORT", "localhost": "127.0.0.1:PORT", "10.1.2.3": "10.1.2.3:PORT", "10.1.2.3:99": "10.1.2.3:99", "::1": "[::1]:PORT",
	} {
		p, err := NewPool(Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Advertise: advertise})
		if err != nil {
			t.Errorf("%q: %v", advertise, err)
			continue
		}
		port := fmt.Sprint(p.node.Port())
		if want = strings.Replace(want, "PORT", port, 1); p.Addr() != want {
			t.Errorf("%q: address is %s, want %s", advertise, p.Addr(), want)
		}
		// Another one cannot have the same port, and can when it is closed.
		bind := "127.0.0.1:" + port
		if twice, err := NewPool(Config{Role: dynmesh.RoleWorker, Bind: bind}); err == nil {
			t.Error("two pools have one port")
			_ = twice.Close()
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		again, err := NewPool(Config{Role: dynmesh.RoleWorker, Bind: bind})
		if err != nil {
			t.Errorf("after Close: %v", err)
			continue
		}
		_ = again.Close()
		if err := again.Run(t.Context()); err == nil {
			t.Error("a closed pool runs")
		}
	}
}

func TestUnboundAddressIsNotAdvertised(t *testing.T) {
	p, err := NewPool(Config{Role: dynmesh.RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	host, _, err := net.SplitHostPort(p.Addr())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		t.Errorf("address is %s", p.Addr())
	}
}

func TestPoolsOverIPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		l.Close()
	}
	service := listen(t, "[::1]:0")
	first := local(t, func(c *Config) { c.Role, c.Bind = dynmesh.RoleFrontend, "[::1]:0" })
	second := local(t, func(c *Config) {
		c.Bind, c.Advertise, c.Join, c.Service = "[::]:0", "::1", []string{first.Addr()}, service.Addr().String()
	})
	testkit.Eventually(t, 20*time.Second, "met", func() bool { return first.alive() == 2 && second.alive() == 2 })
	testkit.Eventually(t, 20*time.Second, "reached", func() bool {
		first.read()
		o, ok := first.paths[dynmesh.ObservationKey{Observer: first.Self(), Subject: worker(second.Self().ID)}]
		return ok && o.Finding == dynmesh.Pass
	})
	testkit.Eventually(t, 20*time.Second, "tripwire held", func() bool { return holdsConnection(first.Pool) })
	if at := first.members[second.Self().ID].Addr; at != second.Addr() {
		t.Errorf("it is at %s, and advertises %s", at, second.Addr())
	}
}

// A pool that is not wanted any more is released by Run with a context that has ended: nobody hears
// of it.
func TestRunAfterTheEndReleasesTheAddress(t *testing.T) {
	log, logged := testkit.Log()
	ended, end := context.WithCancel(t.Context())
	end()
	addr := "127.0.0.1:0"
	for range 3 {
		p, err := NewPool(Config{Role: dynmesh.RoleFrontend, Bind: addr, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		addr = p.Addr()
		if err := p.Run(ended); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: got %v, want nil", err)
		}
	}
	if got := logged.String(); got != "" {
		t.Errorf("got logged %s, want nothing", got)
	}
}
