package snapshot

import (
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// known is a fleet and what is rendered of it.
type known struct {
	fleet   *fleet.Fleet
	builder *Builder
}

func newKnown(gossip bool) *known {
	now := time.Now()
	f := fleet.New(fleet.Config{Gossip: gossip, Self: dynmesh.Observer{ID: 0xfe, Epoch: 1}}, now)
	return &known{f, NewBuilder(f, nil, Outputs{}, nil, now)}
}

// discover renders what the registry says.
func (k *known) discover(u dynmesh.RegistryUpdate) {
	k.fleet.Discover(u)
	k.render()
}

// gossip renders what gossip says.
func (k *known) gossip(u dynmesh.GossipUpdate) {
	k.fleet.Gossip(u)
	k.render()
}

func (k *known) render() {
	k.builder.Register(k.fleet.Registrations())
	k.builder.Next(k.fleet.Reconcile(time.Now()), time.Now())
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }
