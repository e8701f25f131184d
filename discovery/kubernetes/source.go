package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// dynamoSelector finds the slices of the Services that Dynamo's operator makes for discovery.
const dynamoSelector = "nvidia.com/dynamo-discovery-backend=kubernetes,nvidia.com/dynamo-discovery-enabled=true"

// othersOnly leaves out slices that dynmesh writes itself, which say what it knows already.
const othersOnly = "," + apiserver.ManagedBy + "!=" + apiserver.Manager

// staleAfter is how long the API server may be away before what is known counts as stale: longer
// than an ordinary restart of a watch.
const staleAfter = 5 * time.Second

// Config configures a Source. The zero value follows Dynamo's workers in the pod's own namespace.
type Config struct {
	Kubeconfig string        // path; default KUBECONFIG, ~/.kube/config, then the pod's service account
	Namespace  string        // default the kubeconfig's, or the pod's own
	Services   []string      // Services to follow besides Dynamo's workers: SELECTOR or SELECTOR:PORT
	Log        *logrus.Entry // default: nothing is logged

	// ReadinessGate lists also Dynamo's workers whose pods are not ready because dynmesh has withdrawn
	// them by its own readiness gate (frontend/output/kubernetes). Pods are followed, too, then.
	ReadinessGate bool
}

// Source follows what Kubernetes knows: it is a discovery.Source. Make it with New.
type Source struct {
	client    *apiserver.Client
	followers []*apiserver.Follower[object]
	log       *logrus.Entry
	ledger    *discovery.Ledger
	ran       atomic.Bool
	lists     atomic.Int64

	join     *join
	messages chan apiserver.Message[object]
	watches  map[kind]*watch
}

// watch is whether a kind of objects is followed.
type watch struct {
	path      string
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
	client, namespace, err := apiserver.New(cfg.Kubeconfig, cfg.Namespace)
	if err != nil {
		return nil, err
	}
	s := &Source{
		client: client, log: logging.OrDiscard(cfg.Log), ledger: discovery.NewLedger(time.Now()),
		messages: make(chan apiserver.Message[object], 256), watches: map[kind]*watch{},
	}
	slicesPath := "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"
	s.follow(workers, "/apis/nvidia.com/v1alpha1/namespaces/"+namespace+"/dynamoworkermetadatas", "", decodeWorker)
	s.follow(ready, slicesPath, dynamoSelector+othersOnly, decodeObject)
	if cfg.ReadinessGate {
		s.follow(pods, "/api/v1/namespaces/"+namespace+"/pods", "", decodePod)
	}
	var ports []string
	for _, service := range cfg.Services {
		selector, port, _ := strings.Cut(service, ":")
		s.follow(services+kind(len(ports)), slicesPath, selector+othersOnly, decodeObject)
		ports = append(ports, port)
	}
	s.join = newJoin(ports)
	return s, nil
}

// follow adds a kind of objects to those that Run follows.
func (s *Source) follow(k kind, path, labels string, decode func(func(any) error) (*object, error)) {
	s.watches[k] = &watch{path: path}
	s.followers = append(s.followers, &apiserver.Follower[object]{
		Client: s.client, Resource: apiserver.Resource{Path: path, Labels: labels}, Kind: int(k), To: s.messages, Lists: &s.lists, Log: s.log,
		Decode: decode, Meta: (*object).meta,
	})
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
	for _, f := range s.followers {
		following.Go(func() { f.Run(ctx) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-s.messages:
			s.take(m)
			for range len(s.messages) { // what has come meanwhile is one update
				s.take(<-s.messages)
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
func (s *Source) take(m apiserver.Message[object]) {
	k := kind(m.Kind)
	l := s.watches[k]
	switch {
	case m.Lost != nil:
		if l.following {
			l.following, l.since = false, s.client.LastContact()
		}
		if !l.reported {
			l.reported = true
			s.log.WithField("key", l.path).WithField("err", m.Lost).Warn("Kubernetes cannot be followed: what was known stays, trying again each second")
		}
	case m.Put != nil:
		s.join.put(k, m.Put)
	case m.Removed != "":
		s.join.remove(k, m.Removed)
	case m.Listed:
		s.join.replace(k, m.All)
	}
	if m.Following {
		l.following = true
		if l.reported {
			l.reported = false
			s.log.WithField("key", l.path).Info("Kubernetes is followed again")
		}
	}
}

// conclude returns what the registry is now.
func (s *Source) conclude(now time.Time) discovery.Step {
	inTouch := true
	var since time.Time // when what is not followed was last heard
	for _, w := range s.watches {
		if w.following {
			continue
		}
		if inTouch || w.since.Before(since) {
			since = w.since
		}
		inTouch = false
	}
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
