package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// A saying is what /mesh says of one instance, and of what that rests on: all other answers are
// held against it.
type saying struct {
	discovery string
	warnings  []string
	endpoint  meshEndpoint // without its instances
	instance  meshInstance // without what only /mesh tells
	reason    string       // the one that decided
}

func (m meshView) saying(who *worker) saying {
	s := saying{discovery: m.Discovery.State, warnings: m.Warnings}
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			if i.ID == strconv.FormatUint(who.id, 16) {
				s.endpoint, s.reason = e, i.Reasons[0]
				s.instance = meshInstance{ID: i.ID, Verdict: i.Verdict, Verified: i.Verified, Registered: i.Registered}
			}
		}
	}
	s.endpoint.Instances = nil
	return s
}

func (s saying) equal(o saying) bool { return reflect.DeepEqual(s, o) }

// well says whether there is nothing about the instance that anybody has to know.
func (s saying) well() bool { return s.instance.Verdict == "ready" && s.instance.Registered }

// enough says whether what is expected is there.
func (s saying) enough() bool { return s.endpoint.Ready >= s.endpoint.Expected }

// code is the exit code of dynmesh status.
func (s saying) code() int {
	if s.well() && s.enough() {
		return 0
	}
	return 1
}

// words are the verdict as commands print it.
func (s saying) words() string {
	if !s.instance.Registered {
		return s.instance.Verdict + ", not registered"
	}
	return s.instance.Verdict
}

// An answer is one of those that people, scripts and Prometheus go by.
type answer struct {
	name string
	// differs asks, and returns in what the answer is another than this. Any goroutine may call it.
	differs func(ctx context.Context, s saying) error
}

// answers are a frontend's.
func (w *world) answers(f *frontend) []answer {
	return []answer{
		{"/ready", func(_ context.Context, s saying) error { return f.readyDiffers(s) }},
		{"/metrics", func(_ context.Context, s saying) error { return f.metricsDiffer(s) }},
		{"status -o json", func(ctx context.Context, s saying) error {
			return w.printsDiffer(ctx, s, s.code(), jsonDiffers, "status", "-o", "json", "--frontend", f.url("/"))
		}},
		{"status", func(ctx context.Context, s saying) error {
			return w.printsDiffer(ctx, s, s.code(), tableDiffers, "status", "--frontend", f.url("/"))
		}},
		{"explain", func(ctx context.Context, s saying) error {
			return w.printsDiffer(ctx, s, 0, explainDiffers, "explain", s.instance.ID, "--frontend", f.url("/"))
		}},
	}
}

func (f *frontend) readyDiffers(s saying) error {
	r, err := get(ask(), f.url("/ready"))
	if err != nil {
		return err
	}
	var said struct {
		Discovery    string
		Expectations []struct{ Have, Registered, Want int }
		Reasons      []string
	}
	if err := json.Unmarshal(r.body, &said); err != nil {
		return err
	}
	e, status, named := s.endpoint, http.StatusOK, ""
	if !s.enough() {
		status, named = http.StatusServiceUnavailable, fmt.Sprintf("1 %s (%s)", s.instance.Verdict, s.instance.ID)
	}
	header, _, _ := strings.Cut(r.header.Get("X-Dynmesh-Discovery"), ";")
	if want := []struct{ Have, Registered, Want int }{{e.Ready, e.Registered, e.Expected}}; r.status != status || said.Discovery != s.discovery ||
		header != s.discovery || !reflect.DeepEqual(said.Expectations, want) || !strings.Contains(strings.Join(said.Reasons, "\n"), named) {
		return fmt.Errorf("got %d, %s and %s; want %d, %s, %v and %q", r.status, header, r.body, status, s.discovery, want, named)
	}
	return nil
}

func (f *frontend) metricsDiffer(s saying) error {
	r, err := get(ask(), f.url("/metrics"))
	if err != nil {
		return err
	}
	series := map[string]string{}
	for line := range strings.Lines(string(r.body)) {
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			series[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	e, ready := s.endpoint, 0
	if s.enough() {
		ready = 1
	}
	of := fmt.Sprintf("{endpoint=%q", e.Endpoint)
	var errs []error
	for name, want := range map[string]int{
		"dynmesh_frontend_ready":    ready,
		"dynmesh_frontend_warnings": len(s.warnings),
		`dynmesh_registry_state{source="etcd",state="` + s.discovery + `"}`:                                                   1,
		"dynmesh_frontend_endpoint_instances" + of + "}":                                                                      e.Registered,
		"dynmesh_frontend_endpoint_unregistered_instances" + of + "}":                                                         e.Unregistered,
		"dynmesh_frontend_endpoint_verdict_instances" + of + `,verdict="ready"}`:                                              e.Ready,
		"dynmesh_frontend_endpoint_verdict_instances" + of + `,verdict="notready"}`:                                           e.NotReady,
		"dynmesh_frontend_endpoint_verdict_instances" + of + `,verdict="unreachable"}`:                                        e.Unreachable,
		"dynmesh_frontend_endpoint_verdict_instances" + of + `,verdict="draining"}`:                                           e.Draining,
		"dynmesh_frontend_ghost_instances":                                                                                    e.Unreachable,
		fmt.Sprintf("dynmesh_frontend_expectation_instances{expectation=\"%s>=%d\"}", e.Endpoint, e.Expected):                 e.Ready,
		"dynmesh_frontend_instance_verdict" + of + fmt.Sprintf(`,instance=%q,verdict=%q}`, s.instance.ID, s.instance.Verdict): 1,
	} {
		if got := series[name]; got != strconv.Itoa(want) {
			errs = append(errs, fmt.Errorf("%s is %q, want %d", name, got, want))
		}
	}
	return errors.Join(errs...)
}
