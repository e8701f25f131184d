package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// A dockerNetwork hands out its addresses itself, so that a program can be told where another will
// be, and finds it there again after a restart. Names would do for that too, but a name that docker
// does not know at the moment (that of a stopped etcd) goes to the machine's own DNS servers, whose
// time-outs would be measured along with dynmesh.
type dockerNetwork struct {
	id     string
	name   string
	subnet netip.Prefix
	last   netip.Addr // the address given out most recently
}

// newNetwork makes a bridge network and removes it when the test ends.
func (e *dockerEngine) newNetwork(t *testing.T, role string) *dockerNetwork {
	t.Helper()
	name := e.containerName(t, role)
	// Fixed addresses are only allowed in a subnet that was asked for by number. The engine knows
	// which numbers are free, so it picks one first; another run may take that between the two calls.
	var err error
	for range 5 {
		var n *dockerNetwork
		if n, err = e.tryNetwork(t.Context(), name); err == nil {
			t.Cleanup(func() {
				if err := e.removeNetwork(context.Background(), n.id); err != nil {
					t.Errorf("remove network %s: %v", name, err)
				}
			})
			return n
		}
		if !strings.Contains(err.Error(), "overlaps") {
			break
		}
	}
	t.Fatalf("network %s: %v", name, err)
	return nil
}

// removeNetwork leaves a network that nobody is in where the engine will not let go of it: 20.10
// can count a container's endpoint for ever when containers are killed and started again while the
// machine is busy.
func (e *dockerEngine) removeNetwork(ctx context.Context, id string) error {
	_, err := e.api.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	if err == nil || !strings.Contains(err.Error(), "has active endpoints") {
		return err
	}
	left, inspected := e.api.NetworkInspect(ctx, id, client.NetworkInspectOptions{})
	if inspected == nil && len(left.Network.Containers) == 0 {
		return nil
	}
	return errors.Join(err, inspected)
}

func (e *dockerEngine) tryNetwork(ctx context.Context, name string) (*dockerNetwork, error) {
	draft, err := e.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: e.labels()})
	if err != nil {
		return nil, err
	}
	drawn, err := e.api.NetworkInspect(ctx, draft.ID, client.NetworkInspectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := e.api.NetworkRemove(ctx, draft.ID, client.NetworkRemoveOptions{}); err != nil {
		return nil, err
	}
	if len(drawn.Network.IPAM.Config) == 0 {
		return nil, fmt.Errorf("the engine gave network %s no subnet", name)
	}
	subnet := drawn.Network.IPAM.Config[0].Subnet
	made, err := e.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{
		Driver: "bridge", Labels: e.labels(),
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}},
	})
	if err != nil {
		return nil, err
	}
	// The first address is the gateway's.
	return &dockerNetwork{id: made.ID, name: name, subnet: subnet, last: subnet.Masked().Addr().Next()}, nil
}

// address returns one that nobody has.
func (n *dockerNetwork) address() netip.Addr {
	n.last = n.last.Next()
	return n.last
}

func endpointAt(addr netip.Addr) *network.EndpointSettings {
	return &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: addr}}
}
