package kubernetes

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Times of a writer.
const (
	writeTimeout = 5 * time.Second // of a request
	retryAfter   = 2 * time.Second // what failed, conflicts among it
	retryJitter  = 0.3
)

// Config is what both outputs need.
type Config struct {
	Kubeconfig string // path; default KUBECONFIG, ~/.kube/config, then the pod's service account
	Namespace  string // of the Lease, and of pods; default the kubeconfig's, or the pod's own
	Lease      string // begins the names of Leases; default DefaultLease

	Log *logrus.Entry // default: discarded
}

// DefaultLease begins the names of Leases unless Config says otherwise.
const DefaultLease = "dynmesh"

var leaseName = regexp.MustCompile(`^[a-z0-9][-a-z0-9]{0,49}$`)

// CheckLease says what in Config.Lease cannot be used.
func CheckLease(s string) error {
	if !leaseName.MatchString(s) {
		return fmt.Errorf("%q: want letters a to z, digits and hyphens, a letter or digit first, 50 at most", s)
	}
	return nil
}

// object is one of a kind that is followed.
type object struct {
	apiserver.Meta
	service *service
	slice   *endpointSlice
	pod     *apiserver.Pod
}

func (o *object) meta() apiserver.Meta { return o.Meta }

// reconciler has what one of the outputs is about. Its methods are called by one goroutine.
type reconciler interface {
	// reconcile compares what there is with what the assignment says, and writes what differs, if this
	// frontend may. a may be nil. It returns why something could not be written that is to be tried
	// again though nothing changes.
	reconcile(ctx context.Context, a *output.Assignment, feed *output.Feed) error
}

// writer runs one of the outputs: it follows objects, stands for election, and has the reconciler
// look when something has changed.
type writer struct {
	log       *logrus.Entry
	client    *apiserver.Client
	namespace string
	election  *election
	followers []*apiserver.Follower[object]
	messages  chan apiserver.Message[object]
	objects   []map[string]*object // of each kind, by name; nil: not listed yet
	rt        http.RoundTripper
	frozen    func() bool // nothing may change

	writes *prometheus.CounterVec
}

func newWriter(name string, cfg Config) (*writer, error) {
	client, namespace, err := apiserver.New(cfg.Kubeconfig, cfg.Namespace)
	if err != nil {
		return nil, err
	}
	lease := cmp.Or(cfg.Lease, DefaultLease)
	if err := CheckLease(lease); err != nil {
		return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Lease", Err: err}
	}
	w := &writer{
		log: logging.OrDiscard(cfg.Log).WithField("output", name), client: client, namespace: namespace,
		messages: make(chan apiserver.Message[object], 256),
	}
	w.election = newElection(client, namespace, lease+"-"+name, identity(), w.log)
	w.writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dynmesh_kubernetes_writes_total", Help: "Requests that write, by their result: ok, conflict or error.", ConstLabels: prometheus.Labels{"output": name},
	}, []string{"result"})
	return w, nil
}

// identity is this process's in Leases, as client-go makes it: another one after each start.
func identity() string {
	host, _ := os.Hostname() // empty: the rest tells processes apart
	var own [8]byte
	_, _ = rand.Read(own[:]) // never fails
	return host + "_" + hex.EncodeToString(own[:])
}

// Describe implements prometheus.Collector.
func (w *writer) Describe(ch chan<- *prometheus.Desc) { w.writes.Describe(ch) }

// Collect implements prometheus.Collector.
func (w *writer) Collect(ch chan<- prometheus.Metric) { w.writes.Collect(ch) }

// follow adds a kind of objects to those that are followed, and returns its number.
func (w *writer) follow(path, labels string, decode func(func(any) error) (*object, error)) int {
	kind := len(w.objects)
	w.objects = append(w.objects, nil)
	w.followers = append(w.followers, &apiserver.Follower[object]{
		Client: w.client, Resource: apiserver.Resource{Path: path, Labels: labels}, Kind: kind, To: w.messages, Log: w.log,
		Decode: decode, Meta: (*object).meta,
	})
	return kind
}

// run is the outputs' Run.
func (w *writer) run(ctx context.Context, feed *output.Feed, r reconciler) error {
	if ctx.Err() != nil {
		return nil
	}
	rt, closeIdle, err := w.client.Connect()
	if err != nil {
		return err
	}
	defer closeIdle()
	w.rt, w.frozen, w.election.frozen = rt, feed.Frozen, feed.Frozen
	electing, closeElecting, err := w.client.Connect() // of its own, so that no write keeps a renewal waiting
	if err != nil {
		return err
	}
	defer closeElecting()
	running, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { w.election.run(running, electing) })
	for _, f := range w.followers {
		background.Go(func() { f.Run(running) })
	}
	w.loop(ctx, feed, r)
	stop()
	background.Wait()
	return w.election.release(ctx, electing)
}

// loop has the reconciler look at each change until ctx ends.
func (w *writer) loop(ctx context.Context, feed *output.Feed, r reconciler) {
	var retry *time.Timer // nil: nothing has failed
	var due <-chan time.Time
	lost := map[int]bool{}
	feed.Lead(false)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-w.messages:
			w.take(m, lost)
			for range len(w.messages) {
				w.take(<-w.messages, lost)
			}
		case <-feed.Changed():
		case <-w.election.changed:
		case <-due:
		}
		feed.Lead(w.election.leads(time.Now()))
		if retry != nil {
			retry.Stop()
			retry, due = nil, nil
		}
		if slices.ContainsFunc(w.objects, func(all map[string]*object) bool { return all == nil }) || ctx.Err() != nil {
			continue
		}
		if err := r.reconcile(ctx, feed.Newest(), feed); err != nil && ctx.Err() == nil {
			retry = time.NewTimer(timers.Jitter(retryAfter, retryJitter))
			due = retry.C
		}
	}
}

// take takes in what a follower has found.
func (w *writer) take(m apiserver.Message[object], lost map[int]bool) {
	switch {
	case m.Lost != nil:
		if !lost[m.Kind] {
			lost[m.Kind] = true
			w.log.WithField("err", m.Lost).Warn("Kubernetes cannot be followed: what was written stands, trying again each second")
		}
	case m.Put != nil:
		w.objects[m.Kind][m.Put.Name] = m.Put
	case m.Removed != "":
		delete(w.objects[m.Kind], m.Removed)
	case m.Listed:
		all := make(map[string]*object, len(m.All))
		for _, o := range m.All {
			all[o.Name] = o
		}
		w.objects[m.Kind] = all
	}
	if m.Following && lost[m.Kind] {
		delete(lost, m.Kind)
		w.log.Info("Kubernetes is followed again")
	}
}

// Why nothing is written.
var (
	errNotWriting = errors.New("another frontend writes")
	errFrozen     = errors.New("nothing may change now")
)

// mayChange returns nil where this frontend writes, and may change what is written.
func (w *writer) mayChange() error {
	if err := w.mayWrite(); err != nil {
		return err
	}
	if w.frozen() {
		return errFrozen
	}
	return nil
}

// mayWrite returns nil where this frontend writes, errNotWriting where another one does, and
// otherwise why it is not known who does.
func (w *writer) mayWrite() error {
	if w.election.leads(time.Now()) {
		return nil
	}
	if err := w.election.failure(); err != nil {
		return err
	}
	return errNotWriting
}

// write makes a request that writes, if it still may be. The object that it has become is decoded
// into object.
func (w *writer) write(ctx context.Context, may func() error, r apiserver.Request, object any) error {
	if err := may(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.client.Do(ctx, w.rt, r, object)
	switch {
	case err == nil:
		w.writes.WithLabelValues("ok").Inc()
	case apiserver.HasCode(err, http.StatusConflict) || apiserver.HasCode(err, http.StatusNotFound):
		w.writes.WithLabelValues("conflict").Inc()
	default:
		w.writes.WithLabelValues("error").Inc()
	}
	return err
}
