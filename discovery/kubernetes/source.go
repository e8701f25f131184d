package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// dynamoSelector finds the slices of the Services that Dynamo's operator makes for discovery.
const dynamoSelector = "nvidia.com/dynamo-discovery-backend=kubernetes,nvidia.com/dynamo-discovery-enabled=true"

// staleAfter is how long the API server may be away before what is known counts as stale: longer
// than an ordinary restart of a watch.
const staleAfter = 5 * time.Second

// Config configures a Source. The zero value follows Dynamo's workers in the pod's own namespace.
type Config struct {
	Kubeconfig string        // path; default KUBECONFIG, ~/.kube/config, then the pod's service account
	Namespace  string        // default the kubeconfig's, or the pod's own
	Services   []string      // Services to follow besides Dynamo's workers: SELECTOR or SELECTOR:PORT
	Log        *logrus.Entry // default: nothing is logged
}

// Source follows what Kubernetes knows: it is a discovery.Source. Make it with New.
type Source struct {
	client    *client
	resources []resource
	log       *logrus.Entry
	ledger    *discovery.Ledger
	ran       atomic.Bool
	lists     atomic.Int64

	join    *join
	watches []watch // of each kind
}

// watch is whether a kind of objects is followed.
type watch struct {
	following bool      // it has been listed, then
	since     time.Time // when it is not: when the API server was last heard
	reported  bool      // it has been logged that it is not
}

// checkService says what in a Service's SELECTOR:PORT cannot be used.
func checkService(s string) error {
	selector, port, hasPort := strings.Cut(s, ":")
	if selector == "" || hasPort && port == "" || strings.Contains(port, ":") {
		return fmt.Errorf("%q: want a label selector and the name or number of a port, such as app=vllm:http", s)
	}
	return nil
}

// New reads the configuration of the cluster. It does not connect. Its error is a
// *dynmesh.ConfigError.
func New(cfg Config) (*Source, error) {
	for _, s := range cfg.Services {
		if err := checkService(s); err != nil {
			return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Services", Err: err}
		}
	}
	config, namespace, err := loadConfig(cfg.Kubeconfig, cfg.Namespace)
	if err != nil {
		return nil, err
	}
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	slicesPath := "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"
	s := &Source{
		client: c, log: logging.OrDiscard(cfg.Log), ledger: discovery.NewLedger(time.Now()),
		resources: []resource{
			{workers, "/apis/nvidia.com/v1alpha1/namespaces/" + namespace + "/dynamoworkermetadatas", ""},
			{ready, slicesPath, dynamoSelector},
		},
	}
	var ports []string
	for _, service := range cfg.Services {
		selector, port, _ := strings.Cut(service, ":")
		s.resources = append(s.resources, resource{services + kind(len(ports)), slicesPath, selector})
		ports = append(ports, port)
	}
	s.join, s.watches = newJoin(ports), make([]watch, len(s.resources))
	return s, nil
}

// Status returns what metrics show.
func (s *Source) Status() discovery.Status {
	status := s.ledger.Status()
	status.Reads = s.lists.Load()
	return status
}

// Run follows the API server until ctx ends, and then returns nil: see discovery.Source.
func (s *Source) Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error {
	if s.ran.Swap(true) {
		return errors.New("kubernetes source: Run called twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	messages := make(chan message, 256)
	for _, r := range s.resources {
		f := follower{client: s.client, resource: r, to: messages, lists: &s.lists, log: s.log}
		following.Go(func() { f.run(ctx) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-messages:
			s.take(m)
			for range len(messages) { // what has come meanwhile is one update
				s.take(<-messages)
			}
		case <-tick.C:
		}
		step := s.conclude(time.Now())
		for _, r := range step.Fresh {
			s.log.WithField("key", r.Key).WithField("err", r.Detail).Warn("What Kubernetes has here is left out until it changes")
		}
		if step.Changed && ctx.Err() == nil {
			up(step.Update)
		}
	}
}

// take takes in what a follower has found.
func (s *Source) take(m message) {
	l := &s.watches[m.kind]
	switch {
	case m.lost != nil:
		if l.following {
			l.following, l.since = false, time.Unix(0, s.client.lastContact.Load())
		}
		if !l.reported {
			l.reported = true
			s.log.WithField("key", s.resources[m.kind].path).WithField("err", m.lost).Warn("Kubernetes cannot be followed: what was known stays, trying again each second")
		}
	case m.put != nil:
		s.join.put(m.kind, m.put)
	case m.removed != "":
		s.join.remove(m.kind, m.removed)
	case m.listed:
		s.join.replace(m.kind, m.all)
	}
	if m.following {
		l.following = true
		if l.reported {
			l.reported = false
			s.log.WithField("key", s.resources[m.kind].path).Info("Kubernetes is followed again")
		}
	}
}

// conclude returns what the registry is now.
func (s *Source) conclude(now time.Time) discovery.Step {
	var since time.Time // when what is not followed was last heard
	for _, w := range s.watches {
		if !w.following && (since.IsZero() || w.since.Before(since)) {
			since = w.since
		}
	}
	inTouch := !slices.ContainsFunc(s.watches, func(w watch) bool { return !w.following })
	switch synced := s.ledger.Status().State == dynmesh.Synced; {
	case inTouch && !synced:
		return s.ledger.Replace(s.join.all(), now)
	case inTouch && len(s.join.dirty) > 0:
		return s.ledger.Change(s.join.changes())
	case !inTouch && synced && now.Sub(since) >= staleAfter: // until then half of what belongs together may be missing
		return s.ledger.Away(since)
	}
	return discovery.Step{}
}
