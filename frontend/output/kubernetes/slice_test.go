package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh/frontend/output"
)

func serviceOf(t testing.TB, text string) *service {
	t.Helper()
	s := new(service)
	if err := json.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// How a server stands in a slice, or why in none.
func TestEndpointOf(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"10.0.0.1:8000", "IPv4 8000 10.0.0.1"},
		{"[fd00::1]:8000", "IPv6 8000 fd00::1"},
		{"[::ffff:10.0.0.1]:80", "IPv4 80 10.0.0.1"},
		{"engine-0.engines:8000", "an EndpointSlice has IP addresses only, and it is registered as engine-0.engines"},
		{"", "it has no address of its own"},
		{"127.0.0.1:8000", "no EndpointSlice may have 127.0.0.1"},
		{"[::1]:8000", "no EndpointSlice may have ::1"},
		{"169.254.0.1:8000", "no EndpointSlice may have 169.254.0.1"},
		{"[fe80::1%eth0]:8000", "no EndpointSlice may have fe80::1"},
		{"0.0.0.0:8000", "no EndpointSlice may have 0.0.0.0"},
		{"10.0.0.1:0", "it is registered at the port 0"},
		{"10.0.0.1:http", "it is registered at the port http"},
	} {
		e, kind, err := endpointOf(&output.Server{Addr: tt.addr, State: output.In}, "")
		got := fmt.Sprint(kind.addressType, " ", kind.port, " ", strings.Join(e.Addresses, ","))
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.addr, got, tt.want)
		}
	}
	s := output.Server{Addr: "10.0.0.1:80", Pod: output.Pod{Name: "p", UID: "u", Node: "n"}}
	for state, want := range map[output.State]conditions{
		output.In: {true, true, false}, output.Degraded: {true, true, false}, output.Draining: {false, true, true}, output.Out: {},
	} {
		s.State = state
		e, _, err := endpointOf(&s, "prod")
		if err != nil || e.Conditions != want || e.NodeName != "n" || *e.TargetRef != (podRef{"Pod", "prod", "p", "u"}) {
			t.Errorf("%v: got %+v, %v", state, e, err)
		}
	}
}

func TestServedPort(t *testing.T) {
	for _, tt := range []struct{ service, port, want string }{
		{`{"spec":{"ports":[{"name":"http"}]}}`, "", "http"},
		{`{"spec":{"ports":[{}]}}`, "", ""},
		{`{"spec":{"ports":[{"name":"quic","protocol":"UDP"},{"name":"http"}]}}`, "", "http"},
		{`{"spec":{"ports":[{"name":"http"},{"name":"metrics"}]}}`, "metrics", "metrics"},
		{`{"spec":{"ports":[{"name":"http"},{"name":"metrics"}]}}`, "", `want the port "" of the Service, which has ["http" "metrics"]: name one, as in service:PORT=…`},
		{`{"spec":{"ports":[{"name":"http"}]}}`, "grpc", `want the port "grpc" of the Service, which has ["http"]: name one, as in service:PORT=…`},
		{`{"spec":{"selector":{"app":"vllm"},"ports":[{"name":"http"}]}}`, "", "the Service has a selector, by which Kubernetes itself writes its EndpointSlices: want one without"},
		{`{"spec":{"type":"ExternalName"}}`, "", "the Service is an ExternalName: want one that has endpoints"},
	} {
		p, err := serviceOf(t, tt.service).servedPort(tt.port)
		got := p.Name
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.service, got, tt.want)
		}
	}
}

// What is planned leads to what is wanted, in slices that keep to the rules; then nothing is left
// to do, and a change of one endpoint is one write.
func TestPlan(t *testing.T) {
	s := serviceOf(t, `{"metadata":{"name":"llm","uid":"u","labels":{"app":"x"}},"spec":{"ports":[{"name":"http"}]}}`)
	rapid.Check(t, func(t *rapid.T) {
		var current []*endpointSlice
		wanted := map[kindOfSlice][]endpoint{}
		of := func(n, state int) endpoint {
			return endpoint{Addresses: []string{fmt.Sprintf("10.0.%d.%d", n/250, n%250)}, Conditions: conditionsOf(output.States()[state])}
		}
		kinds := []kindOfSlice{{"IPv4", 80}, {"IPv4", 81}, {"IPv6", 80}}
		choose := func() {
			clear(wanted)
			for _, kind := range kinds {
				seen := map[int]bool{}
				from, n := rapid.IntRange(0, 50).Draw(t, "from"), rapid.SampledFrom([]int{0, 1, 3, 99, 100, 101, 350}).Draw(t, "n")
				for i := range n {
					if !seen[from+i] {
						seen[from+i] = true
						wanted[kind] = append(wanted[kind], of(from+i, rapid.IntRange(0, 3).Draw(t, "state")))
					}
				}
			}
		}
		version := 0
		plan := func() plan { return planSlices(s, servicePort{Name: "http"}, wanted, current) }
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			choose()
			current = applied(t, plan(), current, &version)
			if left := plan(); !left.empty() {
				t.Fatalf("afterwards %+v is left to do", left)
			}
			check(t, current, wanted)
		}
		// One endpoint is another one, is gone, or is new.
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		if len(wanted[kind]) > 0 {
			at := rapid.IntRange(0, len(wanted[kind])-1).Draw(t, "at")
			was := wanted[kind][at].Conditions
			if wanted[kind][at].Conditions = (conditions{}); was == (conditions{}) {
				wanted[kind][at].Conditions = conditions{true, true, false}
			}
			if p := plan(); len(p.patch) != 1 || len(p.create)+len(p.remove) != 0 {
				t.Fatalf("one endpoint changes: %d patches, %d created, %d removed", len(p.patch), len(p.create), len(p.remove))
			}
			current = applied(t, plan(), current, &version)
		}
		wanted[kind] = append(wanted[kind], of(2000, 3))
		if p := plan(); len(p.patch)+len(p.create) != 1 || len(p.remove) != 0 {
			t.Fatalf("one endpoint comes: %d patches, %d created, %d removed", len(p.patch), len(p.create), len(p.remove))
		}
		current = applied(t, plan(), current, &version)
		check(t, current, wanted)
	})
}

// applied returns what slices are after a plan.
func applied(t *rapid.T, p plan, current []*endpointSlice, version *int) []*endpointSlice {
	byName := map[string]*endpointSlice{}
	for _, c := range current {
		byName[c.Metadata.Name] = c
	}
	for _, c := range p.remove {
		delete(byName, c.Metadata.Name)
	}
	for _, c := range p.create {
		if byName[c.Metadata.Name] != nil {
			t.Fatalf("%s is there already", c.Metadata.Name)
		}
		byName[c.Metadata.Name] = c
	}
	for _, c := range p.patch {
		was := byName[c.next.Metadata.Name]
		if was == nil || was.Metadata.ResourceVersion != c.next.Metadata.ResourceVersion {
			t.Fatalf("patch of %+v, which is %+v", c.next.Metadata, was)
		}
		*version++
		c.next.Metadata.ResourceVersion = fmt.Sprint(*version)
		byName[c.next.Metadata.Name] = c.next
	}
	return slices.Collect(maps.Values(byName))
}

func check(t *rapid.T, current []*endpointSlice, wanted map[kindOfSlice][]endpoint) {
	got := map[string]conditions{}
	most := 0
	for _, c := range current {
		if len(c.Endpoints) == 0 || len(c.Endpoints) > perSlice {
			t.Fatalf("%s has %d endpoints", c.Metadata.Name, len(c.Endpoints))
		}
		if c.Metadata.Labels["app"] != "x" || c.Metadata.Labels[serviceLabel] != "llm" || c.Metadata.Owners[0].UID != "u" || c.Ports[0].Name != "http" {
			t.Fatalf("%+v", c)
		}
		for _, e := range c.Endpoints {
			id := fmt.Sprint(c.AddressType, c.Ports[0].Port, e.Addresses)
			if _, twice := got[id]; twice {
				t.Fatalf("%s is in two slices", id)
			}
			got[id] = e.Conditions
		}
	}
	want := map[string]conditions{}
	for kind, all := range wanted {
		most += 2 * max(1, (len(all)+perSlice-1)/perSlice)
		for _, e := range all {
			want[fmt.Sprint(kind.addressType, kind.port, e.Addresses)] = e.Conditions
		}
	}
	if !maps.Equal(got, want) || len(current) > most {
		t.Fatalf("%d endpoints in %d slices, want %d", len(got), len(current), len(want))
	}
}

// A label that the Service has no longer, its slices have no longer.
func TestPatchBody(t *testing.T) {
	p := slicePatch{next: &endpointSlice{}, unlabel: []string{"old"}}
	p.next.Metadata.ResourceVersion, p.next.Metadata.Labels = "7", map[string]string{"a": "b"}
	raw, err := json.Marshal(p.body())
	want := `{"endpoints":null,"metadata":{"labels":{"a":"b","old":null},"ownerReferences":null,"resourceVersion":"7"},"ports":null}`
	if err != nil || string(raw) != want {
		t.Errorf("got %s, want %s", raw, want)
	}
}
