package xds

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dynmesh/dynmesh/frontend/output"
)

func TestAssignment(t *testing.T) {
	served := func(addr, scheme string) output.Server {
		return output.Server{Addr: addr, Scheme: scheme, State: output.In}
	}
	of := func(servers ...output.Server) *output.Target { return &output.Target{Name: generate, Servers: servers} }
	for name, test := range map[string]struct {
		target      *output.Target
		envoy, grpc map[string]string // gRPC's as Envoy's where nil
	}{
		"nobody": {of(), map[string]string{}, nil},
		"each state": {
			target(generate, output.In, output.Out, output.Draining, output.Degraded),
			map[string]string{"10.0.0.1": "HEALTHY", "10.0.0.2": "UNHEALTHY", "10.0.0.3": "DRAINING", "10.0.0.4": "DEGRADED"},
			map[string]string{"10.0.0.1": "HEALTHY 100", "10.0.0.2": "UNHEALTHY", "10.0.0.3": "DRAINING", "10.0.0.4": "HEALTHY 50"},
		},
		"IPv6": {of(served("[fd00::1]:8000", "http")), map[string]string{"fd00::1": "HEALTHY"}, map[string]string{"fd00::1": "HEALTHY 100"}},
		"names and rubbish, for which Envoy would reject all": {
			of(served("gpu-1:8000", "http"), served("10.0.0.1", "http"), served("", ""), served("10.0.0.2:8000", "http")),
			map[string]string{"10.0.0.2": "HEALTHY"}, map[string]string{"10.0.0.2": "HEALTHY 100"},
		},
		"what is not HTTP": {of(served("10.0.0.1:9000", "tcp"), served("10.0.0.2:443", "https")), map[string]string{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for to, want := range []map[string]string{test.envoy, test.grpc} {
				if want == nil {
					want = test.envoy
				}
				a := assignment(test.target, client(to))
				if got := addresses(a); !maps.Equal(got, want) {
					t.Errorf("client %d: got %v, want %v", to, got, want)
				}
				if err := a.ValidateAll(); err != nil {
					t.Errorf("client %d: %v", to, err)
				}
				for _, l := range a.GetEndpoints() {
					if l.GetLocality() == nil || l.GetLoadBalancingWeight().GetValue() == 0 {
						t.Errorf("locality %v: gRPC ignores one without name or weight", l)
					}
				}
			}
		})
	}
}

// Envoy checks what it is sent by the same rules.
func TestResourcesAreValid(t *testing.T) {
	const model = "model/Qwen/Qwen3-0.6B"
	for _, r := range []proto.Message{
		cluster(generate, forGRPC), grpcRoutes(generate), grpcListener(generate), cluster(model, forGRPC), grpcRoutes(model), grpcListener(model),
		cluster(generate, forEnvoy), cluster(model, forEnvoy), envoyRoutes(nil), envoyRoutes([]string{generate, model}), envoyListener(),
	} {
		if err := r.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
			t.Errorf("%s: %v", r.ProtoReflect().Descriptor().FullName(), err)
		}
	}
}

func TestEnvoyRoutesEndInA404(t *testing.T) {
	routes := envoyRoutes([]string{generate}).GetVirtualHosts()[0].GetRoutes()
	if n := len(routes); n != 2 {
		t.Fatalf("%d routes, want one for the cluster and one for all else", n)
	}
	if got := routes[0].GetMatch().GetHeaders()[0].GetStringMatch().GetExact(); got != generate || routes[0].GetRoute().GetCluster() != generate {
		t.Errorf("%q leads to %q, want the cluster of that name", got, routes[0].GetRoute().GetCluster())
	}
	if got := routes[1].GetDirectResponse().GetStatus(); got != 404 {
		t.Errorf("a request without the header gets %d, want 404", got)
	}
}
