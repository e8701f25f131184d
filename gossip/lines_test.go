package gossip

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestNoKeyIsSaidWhereOthersCanReach(t *testing.T) {
	for _, tt := range []struct {
		bind, advertise string
		want            bool
	}{
		{"127.0.0.1:0", "", false},
		{"localhost:0", "", false},
		{"0.0.0.0:0", "127.0.0.1", true}, // told to nobody, and open to all
		{"127.0.0.1:0", "192.0.2.1", true},
		{"0.0.0.0:0", "192.0.2.1", true},
	} {
		log, logged := testkit.Log()
		p, err := NewPool(Config{Role: dynmesh.RoleWorker, Bind: tt.bind, Advertise: tt.advertise, Keyring: Unencrypted(), Log: log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		testkit.Eventually(t, 10*time.Second, "started", func() bool {
			return strings.Contains(logged.String(), "Gossip started")
		})
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := strings.Contains(logged.String(), "Gossip has no key"); got != tt.want {
			t.Errorf("bound to %s, advertised as %q: got warned %v, want %v", tt.bind, tt.advertise, got, tt.want)
		}
	}
}

// That nobody else is there is no news of a member that leaves, nor is its own end.
func TestLeavingIsNoLoss(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		inBubble(t, seed, func(m *mesh) {
			peers := m.starts(3, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			m.joined(peers...)
			m.pass(2 * time.Second)
			for _, p := range peers[1:] {
				p.end()
				<-p.ended
				for _, line := range []string{"No other member is left", "Members died"} {
					if log := p.log.String(); strings.Contains(log, line) {
						t.Errorf("%s logged %q as it left:\n%s", p.Self().ID, line, log)
					}
				}
			}
			m.pass(2 * time.Second)
			if log := peers[0].log.String(); !strings.Contains(log, "No other member is left") {
				t.Errorf("got nothing said by the one that stays:\n%s", log)
			}
		})
	}
}
