package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
)

// perSlice is how many endpoints a slice has at most, as Kubernetes itself does it. The API server
// takes 1000.
const perSlice = 100

const (
	serviceLabel  = "kubernetes.io/service-name"
	headlessLabel = "service.kubernetes.io/headless"
)

// service is what is read of a Service.
type service struct {
	Metadata struct {
		apiserver.Meta
		Namespace string            `json:"namespace"`
		UID       string            `json:"uid"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Type      string            `json:"type"`
		ClusterIP string            `json:"clusterIP"`
		Selector  map[string]string `json:"selector"`
		Ports     []servicePort     `json:"ports"`
	} `json:"spec"`
}

type servicePort struct {
	Name        string `json:"name"`
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol"`
}

// endpointSlice is what is read and written of an EndpointSlice.
type endpointSlice struct {
	APIVersion  string     `json:"apiVersion,omitempty"`
	Kind        string     `json:"kind,omitempty"`
	Metadata    sliceMeta  `json:"metadata"`
	AddressType string     `json:"addressType,omitempty"`
	Endpoints   []endpoint `json:"endpoints"`
	Ports       []port     `json:"ports"`
}

type sliceMeta struct {
	apiserver.Meta
	Labels map[string]string `json:"labels,omitempty"`
	Owners []owner           `json:"ownerReferences,omitempty"`
}

type owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

type port struct {
	Name        string `json:"name"`
	Port        int    `json:"port"`
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol,omitempty"`
}

type endpoint struct {
	Addresses  []string   `json:"addresses"`
	Conditions conditions `json:"conditions"`
	NodeName   string     `json:"nodeName,omitempty"`
	TargetRef  *podRef    `json:"targetRef,omitempty"`
}

type conditions struct {
	Ready       bool `json:"ready"`
	Serving     bool `json:"serving"`
	Terminating bool `json:"terminating"`
}

type podRef struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

func (e endpoint) equal(o endpoint) bool {
	samePod := (e.TargetRef == nil) == (o.TargetRef == nil) && (e.TargetRef == nil || *e.TargetRef == *o.TargetRef)
	return samePod && slices.Equal(e.Addresses, o.Addresses) && e.Conditions == o.Conditions && e.NodeName == o.NodeName
}

// conditionsOf says of a state what kube-proxy and gateways go by.
func conditionsOf(s output.State) conditions {
	switch {
	case s.Serves():
		return conditions{Ready: true, Serving: true}
	case s == output.Draining:
		return conditions{Serving: true, Terminating: true}
	}
	return conditions{}
}

// servedPort returns the port of a Service that the endpoints serve.
func (s *service) servedPort(name string) (servicePort, error) {
	switch {
	case s.Spec.Type == "ExternalName":
		return servicePort{}, errors.New("the Service is an ExternalName: want one that has endpoints")
	case len(s.Spec.Selector) > 0:
		return servicePort{}, errors.New("the Service has a selector, by which Kubernetes itself writes its EndpointSlices: want one without")
	}
	var tcp []servicePort
	var names []string
	for _, p := range s.Spec.Ports {
		if p.Protocol == "" || p.Protocol == "TCP" {
			tcp = append(tcp, p)
			names = append(names, cmp.Or(p.Name, "unnamed"))
		}
	}
	if name == "" && len(tcp) == 1 {
		return tcp[0], nil
	}
	for _, p := range tcp {
		if name != "" && p.Name == name {
			return p, nil
		}
	}
	return servicePort{}, fmt.Errorf("want the port %q of the Service, which has %q: name one, as in service:PORT=…", name, names)
}

// labels returns those of the Service's slices: its own, as Kubernetes does it, and what names it.
func (s *service) labels() map[string]string {
	all := maps.Clone(s.Metadata.Labels)
	if all == nil {
		all = map[string]string{}
	}
	delete(all, headlessLabel)
	if s.Spec.ClusterIP == "None" {
		all[headlessLabel] = ""
	}
	all[serviceLabel], all[apiserver.ManagedBy] = s.Metadata.Name, apiserver.Manager
	return all
}

// kindOfSlice is what all endpoints of a slice have in common.
type kindOfSlice struct {
	addressType string // IPv4 or IPv6
	port        int
}

// endpointOf returns how a server stands in a slice, and in which kind of slice; an error says why
// it can stand in none.
func endpointOf(s *output.Server, podNamespace string) (endpoint, kindOfSlice, error) {
	host, number, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return endpoint{}, kindOfSlice{}, errors.New("it has no address of its own")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return endpoint{}, kindOfSlice{}, fmt.Errorf("an EndpointSlice has IP addresses only, and it is registered as %s", host)
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() {
		return endpoint{}, kindOfSlice{}, fmt.Errorf("no EndpointSlice may have %s", addr)
	}
	p, err := strconv.ParseUint(number, 10, 16)
	if err != nil || p == 0 {
		return endpoint{}, kindOfSlice{}, fmt.Errorf("it is registered at the port %s", number)
	}
	kind := kindOfSlice{"IPv4", int(p)}
	if addr.Is6() {
		kind.addressType = "IPv6"
	}
	e := endpoint{Addresses: []string{addr.String()}, Conditions: conditionsOf(s.State), NodeName: s.Pod.Node}
	if s.Pod.Name != "" && podNamespace != "" {
		e.TargetRef = &podRef{"Pod", podNamespace, s.Pod.Name, s.Pod.UID}
	}
	return e, kind, nil
}

// plan is what is to be written so that a Service has the endpoints that it should.
type plan struct {
	create []*endpointSlice
	patch  []slicePatch
	remove []*endpointSlice
}

// slicePatch is what a slice becomes, and which labels it loses.
type slicePatch struct {
	next    *endpointSlice
	unlabel []string
}

func (p plan) empty() bool { return len(p.create)+len(p.patch)+len(p.remove) == 0 }

// planSlices compares the slices that a Service has with what should be in them. An endpoint stays
// in the slice where it is; those that are new fill the slices that change anyway, then others that
// have room. A slice without endpoints goes, and where half of the slices would do, all are filled
// anew from the first on.
func planSlices(s *service, p servicePort, wanted map[kindOfSlice][]endpoint, current []*endpointSlice) (todo plan) {
	byKind := map[kindOfSlice][]*endpointSlice{}
	for _, c := range slices.SortedFunc(slices.Values(current), func(a, b *endpointSlice) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) }) {
		if len(c.Ports) != 1 {
			todo.remove = append(todo.remove, c)
			continue
		}
		kind := kindOfSlice{c.AddressType, c.Ports[0].Port}
		byKind[kind] = append(byKind[kind], c)
	}
	for kind := range wanted {
		byKind[kind] = append(byKind[kind], nil...)
	}
	kinds := slices.SortedFunc(maps.Keys(byKind), func(a, b kindOfSlice) int {
		return cmp.Or(cmp.Compare(a.addressType, b.addressType), cmp.Compare(a.port, b.port))
	})
	for _, kind := range kinds {
		head := endpointSlice{
			Metadata: sliceMeta{
				Labels: s.labels(),
				Owners: []owner{{"v1", "Service", s.Metadata.Name, s.Metadata.UID}},
			},
			AddressType: kind.addressType,
			Ports:       []port{{p.Name, kind.port, "TCP", p.AppProtocol}},
		}
		todo.add(head, fill(wanted[kind], byKind[kind]), byKind[kind], s.Metadata.Name, kind)
	}
	return todo
}

// add adds what makes the current slices of a kind have these endpoints. filled may be longer.
func (p *plan) add(head endpointSlice, filled [][]endpoint, current []*endpointSlice, service string, kind kindOfSlice) {
	taken := map[string]bool{}
	for _, c := range current {
		taken[c.Metadata.Name] = true
	}
	number := 0
	for n, endpoints := range filled {
		next := head
		next.Endpoints = endpoints
		switch {
		case n < len(current) && len(endpoints) == 0:
			p.remove = append(p.remove, current[n])
		case n < len(current):
			next.Metadata.Meta = current[n].Metadata.Meta
			if !current[n].says(&next) {
				p.patch = append(p.patch, slicePatch{&next, current[n].without(next.Metadata.Labels)})
			}
		default:
			for next.Metadata.Name == "" || taken[next.Metadata.Name] {
				number++
				next.Metadata.Name = fmt.Sprintf("%s-dynmesh-%s-%d-%d", service, map[string]string{"IPv4": "v4", "IPv6": "v6"}[kind.addressType], kind.port, number)
			}
			taken[next.Metadata.Name] = true
			next.APIVersion, next.Kind = "discovery.k8s.io/v1", "EndpointSlice"
			p.create = append(p.create, &next)
		}
	}
}

// says says whether a slice is what another one should be.
func (c *endpointSlice) says(next *endpointSlice) bool {
	return slices.EqualFunc(c.Endpoints, next.Endpoints, endpoint.equal) && slices.Equal(c.Ports, next.Ports) &&
		maps.Equal(c.Metadata.Labels, next.Metadata.Labels) && slices.Equal(c.Metadata.Owners, next.Metadata.Owners)
}

// without returns the slice's labels that are none of those.
func (c *endpointSlice) without(labels map[string]string) (all []string) {
	for name := range c.Metadata.Labels {
		if _, stays := labels[name]; !stays {
			all = append(all, name)
		}
	}
	return all
}

// body returns the patch as it is sent: a version that is not the newest is refused.
func (p slicePatch) body() map[string]any {
	labels := map[string]any{}
	for name, value := range p.next.Metadata.Labels {
		labels[name] = value
	}
	for _, name := range p.unlabel {
		labels[name] = nil
	}
	return map[string]any{
		"metadata": map[string]any{
			"resourceVersion": p.next.Metadata.ResourceVersion, "labels": labels, "ownerReferences": p.next.Metadata.Owners,
		},
		"endpoints": p.next.Endpoints, "ports": p.next.Ports,
	}
}

// fill puts endpoints into the current slices of their kind, of which each keeps those that it has,
// and then into more.
func fill(wanted []endpoint, current []*endpointSlice) [][]endpoint {
	want := make(map[string]endpoint, len(wanted))
	for _, e := range wanted {
		want[e.Addresses[0]] = e
	}
	filled := make([][]endpoint, len(current))
	changes := make([]bool, len(current))
	if needed := (len(want) + perSlice - 1) / perSlice; len(current) <= 2*max(1, needed) {
		for n, c := range current {
			for _, e := range c.Endpoints {
				if len(e.Addresses) != 1 || len(filled[n]) == perSlice {
					changes[n] = true
					continue
				}
				next, stays := want[e.Addresses[0]]
				changes[n] = changes[n] || !stays || !next.equal(e)
				if stays {
					filled[n] = append(filled[n], next)
					delete(want, e.Addresses[0])
				}
			}
		}
	}
	rest := slices.SortedFunc(maps.Values(want), func(a, b endpoint) int { return cmp.Compare(a.Addresses[0], b.Addresses[0]) })
	put := func(n int) {
		room := min(perSlice-len(filled[n]), len(rest))
		filled[n] = append(filled[n], rest[:room]...)
		rest = rest[room:]
	}
	for _, changed := range []bool{true, false} {
		for n := range current {
			if changes[n] == changed {
				put(n)
			}
		}
	}
	for len(rest) > 0 {
		filled = append(filled, nil)
		put(len(filled) - 1)
	}
	return filled
}
