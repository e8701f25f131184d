package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
)

// SlicesConfig configures [Slices].
type SlicesConfig struct {
	Config

	// Services are Services without a selector, and what serves each:
	// [NAMESPACE/]SERVICE[:PORT]=TARGET, such as prod/llm=dyn://dynamo.backend.generate or
	// llm:http=model/llama-70b. PORT is the name of one of the Service's ports, where it has several.
	Services []string
}

// Slices writes the EndpointSlices of Services. It is an [output.Output], and a collector of
// metrics.
type Slices struct {
	*writer
	services []*mapping
}

// mapping is a Service, and what serves it.
type mapping struct {
	namespace, service, port string
	target                   string
	serviceKind, sliceKind   int            // what is followed in the namespace
	last                     *output.Target // that was reported in place
	said                     string         // what was last reported to be wrong
}

var serviceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// CheckService says what in one of SlicesConfig.Services cannot be used.
func CheckService(s string) error {
	_, err := parseMapping(s, "default")
	return err
}

func parseMapping(s, namespace string) (*mapping, error) {
	where, target, ok := strings.Cut(s, "=")
	m := &mapping{namespace: namespace, service: where, target: target}
	if before, after, ok := strings.Cut(where, "/"); ok {
		m.namespace, m.service = before, after
	}
	if before, after, ok := strings.Cut(m.service, ":"); ok {
		if m.service, m.port = before, after; !serviceName.MatchString(after) {
			return nil, fmt.Errorf("%q: the port of a Service has a name, such as http", s)
		}
	}
	model, isModel := strings.CutPrefix(target, output.ModelTarget(""))
	isTarget := strings.HasPrefix(target, "dyn://") || isModel && model != ""
	if !ok || !isTarget || !serviceName.MatchString(m.namespace) || !serviceName.MatchString(m.service) || strings.ContainsAny(target, " \t\r\n") {
		return nil, fmt.Errorf("%q: want namespace/service=dyn://namespace.component.endpoint, or =model/NAME; the namespace may be left out, and service:port names one of several ports", s)
	}
	return m, nil
}

// NewSlices reads the configuration of the cluster. It does not connect. Its error is a
// *dynmesh.ConfigError.
func NewSlices(cfg SlicesConfig) (*Slices, error) {
	w, err := newWriter("endpointslices", cfg.Config)
	if err != nil {
		return nil, err
	}
	s := &Slices{writer: w}
	for _, service := range cfg.Services {
		m, err := parseMapping(service, w.namespace)
		if err == nil && slices.ContainsFunc(s.services, func(o *mapping) bool { return o.namespace == m.namespace && o.service == m.service }) {
			err = fmt.Errorf("%q: the Service %s/%s is named twice", service, m.namespace, m.service)
		}
		if err != nil {
			return nil, &dynmesh.ConfigError{Config: "endpointslices", Field: "Services", Err: err}
		}
		if known := slices.IndexFunc(s.services, func(o *mapping) bool { return o.namespace == m.namespace }); known >= 0 {
			m.serviceKind, m.sliceKind = s.services[known].serviceKind, s.services[known].sliceKind
		} else {
			m.serviceKind = w.follow("/api/v1/namespaces/"+m.namespace+"/services", "", decodeService)
			m.sliceKind = w.follow(slicesPath(m.namespace), managed, decodeSlice)
		}
		s.services = append(s.services, m)
	}
	return s, nil
}

// managed selects the slices that dynmesh writes.
const managed = apiserver.ManagedBy + "=" + apiserver.Manager

func slicesPath(namespace string) string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"
}

func decodeService(decode func(any) error) (*object, error) {
	s := new(service)
	if err := decode(s); err != nil {
		return nil, err
	}
	return &object{Meta: s.Metadata.Meta, service: s}, nil
}

func decodeSlice(decode func(any) error) (*object, error) {
	s := new(endpointSlice)
	if err := decode(s); err != nil {
		return nil, err
	}
	return &object{Meta: s.Metadata.Meta, slice: s}, nil
}

// Name implements output.Output.
func (*Slices) Name() string { return "endpointslices" }

// WhenGone implements output.Output.
func (*Slices) WhenGone() string {
	return "EndpointSlices stand as they were written last, until a frontend is back; they go with their Service, or with dynmesh release"
}

// Run implements output.Output.
func (s *Slices) Run(ctx context.Context, feed *output.Feed) error { return s.run(ctx, feed, s) }

// reconcile implements reconciler.
func (s *Slices) reconcile(ctx context.Context, a *output.Assignment, feed *output.Feed) error {
	if a == nil {
		return nil // what is written stands
	}
	var failed error
	for _, m := range s.services {
		t := a.Target(m.target)
		again, err := s.write(ctx, m, t)
		if again {
			failed = err
		}
		if !errors.Is(err, errNotWriting) && !errors.Is(err, errFrozen) { // what another frontend writes is seen here
			s.report(m, t, err, feed)
		}
	}
	return failed
}

// write has a Service have the slices that it should, and says whether what failed is to be tried
// again although nothing changes.
func (s *Slices) write(ctx context.Context, m *mapping, t *output.Target) (again bool, err error) {
	o := s.objects[m.serviceKind][m.service]
	if o == nil {
		return false, fmt.Errorf("there is no Service %s/%s", m.namespace, m.service)
	}
	port, err := o.service.servedPort(m.port)
	if err != nil {
		return false, fmt.Errorf("%s/%s: %w", m.namespace, m.service, err)
	}
	var current []*endpointSlice
	for _, o := range s.objects[m.sliceKind] {
		if o.slice.Metadata.Labels[serviceLabel] == m.service {
			current = append(current, o.slice)
		}
	}
	wanted, _ := s.wanted(m, t)
	todo := planSlices(o.service, port, wanted, current)
	if todo.empty() {
		return false, nil
	}
	if err := s.mayChange(); err != nil {
		return errors.Is(err, errFrozen), err
	}
	// First what adds: what moves from one slice to another is in both for a moment, and not in none.
	path := slicesPath(m.namespace)
	for _, next := range todo.create {
		if err := s.put(ctx, m, apiserver.Request{Method: http.MethodPost, Path: path, Body: next}); err != nil {
			return true, fmt.Errorf("create EndpointSlice %s/%s: %w", m.namespace, next.Metadata.Name, err)
		}
	}
	for _, p := range todo.patch {
		r := apiserver.Request{Method: http.MethodPatch, Path: path + "/" + p.next.Metadata.Name, Type: "application/merge-patch+json", Body: p.body()}
		if err := s.put(ctx, m, r); err != nil {
			return true, fmt.Errorf("patch EndpointSlice %s/%s: %w", m.namespace, p.next.Metadata.Name, err)
		}
	}
	for _, c := range todo.remove {
		// Whatever it has become meanwhile, it is one that dynmesh alone writes.
		err := s.writer.write(ctx, s.mayChange, apiserver.Request{Method: http.MethodDelete, Path: path + "/" + c.Metadata.Name}, nil)
		if err != nil && !apiserver.HasCode(err, http.StatusNotFound) {
			return true, fmt.Errorf("delete EndpointSlice %s/%s: %w", m.namespace, c.Metadata.Name, err)
		}
		delete(s.objects[m.sliceKind], c.Metadata.Name)
	}
	return false, nil
}

// put writes one slice, and keeps what it has become.
func (s *Slices) put(ctx context.Context, m *mapping, r apiserver.Request) error {
	became := new(endpointSlice)
	if err := s.writer.write(ctx, s.mayChange, r, became); err != nil {
		return err
	}
	s.objects[m.sliceKind][became.Metadata.Name] = &object{Meta: became.Metadata.Meta, slice: became}
	return nil
}

// wanted returns the endpoints of a target, and why some servers are none. t may be nil.
func (s *Slices) wanted(m *mapping, t *output.Target) (all map[kindOfSlice][]endpoint, left error) {
	all = map[kindOfSlice][]endpoint{}
	if t == nil {
		return all, nil
	}
	podNamespace := ""
	if m.namespace == s.namespace {
		podNamespace = s.namespace
	}
	for i := range t.Servers {
		e, kind, err := endpointOf(&t.Servers[i], podNamespace)
		if err != nil {
			left = err
			continue
		}
		all[kind] = append(all[kind], e)
	}
	return all, left
}

// report says what has come of a Service, where it is not what was said before.
func (s *Slices) report(m *mapping, t *output.Target, err error, feed *output.Feed) {
	now := time.Now()
	said := ""
	if err != nil {
		said = err.Error()
	}
	if said != m.said && (t == nil || said == "") {
		if said == "" {
			s.log.WithField("service", m.namespace+"/"+m.service).Info("The Service's EndpointSlices are written")
		} else {
			s.log.WithField("service", m.namespace+"/"+m.service).WithError(err).Warn("The Service's EndpointSlices cannot be written")
		}
	}
	if t == m.last && said == m.said {
		return
	}
	m.last, m.said = t, said
	switch {
	case t == nil:
	case err != nil:
		feed.Failed(t, err, now)
	default:
		for i := range t.Servers {
			if _, _, why := endpointOf(&t.Servers[i], ""); why == nil {
				feed.AppliedOne(t, &t.Servers[i], now)
			}
		}
		if _, left := s.wanted(m, t); left != nil {
			feed.Failed(t, left, now) // of the rest
		}
	}
}
