package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/text"
)

// patchesAtOnce bounds how many pods are written at the same time.
const patchesAtOnce = 8

// maxMessage bounds the message of a condition, in bytes.
const maxMessage = 500

// What gates are.
const (
	gateTrue  = "True"
	gateFalse = "False"
)

// Gates writes the readiness gates of pods. It is an [output.Output], and a collector of metrics.
type Gates struct {
	*writer
	pods int // what is followed

	last     *output.Assignment
	tied     map[podKey][]tie          // of last
	reported map[*output.Server]string // what was said of the servers of last: the gate, or why it is not written
}

// podKey is a pod in one of its lives.
type podKey struct{ name, uid string }

// tie is a server that runs in a pod.
type tie struct {
	target *output.Target
	server *output.Server
}

// NewGates reads the configuration of the cluster. It does not connect. Its error is a
// *dynmesh.ConfigError.
func NewGates(cfg Config) (*Gates, error) {
	w, err := newWriter("readinessgates", cfg)
	if err != nil {
		return nil, err
	}
	g := &Gates{writer: w, tied: map[podKey][]tie{}, reported: map[*output.Server]string{}}
	g.pods = w.follow(podsPath(w.namespace), "", decodePod)
	return g, nil
}

func podsPath(namespace string) string { return "/api/v1/namespaces/" + namespace + "/pods" }

func decodePod(decode func(any) error) (*object, error) {
	p, err := apiserver.DecodePod(decode)
	if err != nil {
		return nil, err
	}
	return &object{Meta: p.Meta, pod: p}, nil
}

// Name implements output.Output.
func (*Gates) Name() string { return "readinessgates" }

// WhenGone implements output.Output.
func (*Gates) WhenGone() string {
	return "gates stand as they were written last, and pods that come meanwhile are not Ready, until a frontend is back; dynmesh release writes all gates True that there are"
}

// Run implements output.Output.
func (g *Gates) Run(ctx context.Context, feed *output.Feed) error { return g.run(ctx, feed, g) }

// gate is what the gate of a pod is to be, and why.
type gate struct {
	status, reason, message string
}

// wanted returns what a pod's gate is to be, by the servers that run in it; an empty status: what
// it is. decided says that there is an assignment. It is False only where something speaks against
// the pod: one that nobody knows, or has heard of yet, is not to wait for dynmesh.
func wanted(p *apiserver.Pod, ties []tie, decided bool) gate {
	var against *output.Server
	held, unheard := false, false
	for _, t := range ties {
		s := t.server
		held, unheard = held || s.Held, unheard || s.Unheard
		if against == nil && !s.State.Serves() && !s.Unheard {
			against = s
		}
	}
	switch {
	case against != nil && !held:
		return gate{gateFalse, reasonOf(against), text.Line(against.Instance.Endpoint.String()+": "+against.Reason, maxMessage)}
	case against != nil:
		return gate{gateTrue, "Held", "it would be withdrawn, and too few would be left"}
	case p.Gate == gateFalse && (unheard || !decided):
		return gate{}
	case len(ties) == 0:
		return gate{gateTrue, "Unknown", "dynmesh knows nothing that speaks against it"}
	}
	return gate{gateTrue, "InService", "it is in, as far as dynmesh knows"}
}

// reasonOf is a word for why a pod is withdrawn.
func reasonOf(s *output.Server) string {
	switch {
	case s.State == output.Draining:
		return "Draining"
	case s.Verdict == dynmesh.Unreachable:
		return "Unreachable"
	}
	return "NotReady"
}

// reconcile implements reconciler.
func (g *Gates) reconcile(ctx context.Context, a *output.Assignment, feed *output.Feed) error {
	g.tie(a)
	todo := map[*object]gate{}
	for _, o := range g.objects[g.pods] {
		if !o.pod.Gated || o.pod.Over {
			continue
		}
		if next := wanted(o.pod, g.tied[podKey{o.Name, o.pod.UID}], a != nil); next.status != "" && next.status != o.pod.Gate {
			todo[o] = next
		}
	}
	failed := map[*object]error{}
	if len(todo) > 0 {
		failed = g.write(ctx, todo)
	}
	for _, o := range g.objects[g.pods] {
		if o.pod.Gated && !o.pod.Over {
			g.report(o, failed[o], feed)
		}
	}
	var all error
	for _, err := range failed {
		if !errors.Is(err, errNotWriting) {
			all = err
		}
	}
	return all
}

// tie finds the servers that run in pods.
func (g *Gates) tie(a *output.Assignment) {
	if a == nil || a == g.last {
		return
	}
	g.last = a
	clear(g.tied)
	reported := make(map[*output.Server]string, len(g.reported))
	for _, t := range a.Targets {
		for i := range t.Servers {
			s := &t.Servers[i]
			if s.Pod.Name == "" {
				continue
			}
			key := podKey{s.Pod.Name, s.Pod.UID}
			g.tied[key] = append(g.tied[key], tie{t, s})
			if said, ok := g.reported[s]; ok {
				reported[s] = said
			}
		}
	}
	g.reported = reported
}

// write writes gates, and returns what failed.
func (g *Gates) write(ctx context.Context, todo map[*object]gate) map[*object]error {
	failed := map[*object]error{}
	var mu sync.Mutex
	var broken error // why no other one is tried: the API server does not answer
	var writing errgroup.Group
	writing.SetLimit(patchesAtOnce)
	for o, next := range todo {
		writing.Go(func() error {
			mu.Lock()
			err := broken
			mu.Unlock()
			if err == nil {
				err = g.patch(ctx, o, next)
			}
			mu.Lock()
			defer mu.Unlock()
			waits := errors.Is(err, errNotWriting) || errors.Is(err, errFrozen)
			if _, answered := errors.AsType[*apiserver.StatusError](err); err != nil && !answered && !waits {
				broken = err
			}
			switch {
			case waits:
				failed[o] = err
			case err == nil:
				o.pod.Gate = next.status // until the watch says so
				g.log.WithField("pod", o.Name).Debugf("The pod's readiness gate is %s: %s", next.status, next.message)
			case apiserver.HasCode(err, http.StatusNotFound) || apiserver.HasCode(err, http.StatusConflict):
				// The pod is another one, or none: the watch says so, too.
			default:
				failed[o] = fmt.Errorf("write the readiness gate of pod %s: %w", o.Name, err)
			}
			return nil
		})
	}
	_ = writing.Wait() // none returns an error
	return failed
}

// patch writes one gate, of the pod in the life that is meant.
func (g *Gates) patch(ctx context.Context, o *object, next gate) error {
	may := g.mayChange
	if o.pod.Gate == "" {
		may = g.mayWrite // it takes nobody out who was in
	}
	return g.writer.write(ctx, may, gateRequest(podsPath(g.namespace), o.pod, next, time.Now()), nil)
}

func gateRequest(path string, p *apiserver.Pod, next gate, now time.Time) apiserver.Request {
	return apiserver.Request{
		Method: http.MethodPatch, Path: path + "/" + p.Name + "/status", Type: "application/strategic-merge-patch+json",
		Body: map[string]any{
			"metadata": map[string]any{"uid": p.UID},
			"status": map[string]any{"conditions": []any{map[string]any{
				"type": apiserver.ReadinessGate, "status": next.status, "reason": next.reason, "message": next.message,
				"lastTransitionTime": now.UTC().Format(time.RFC3339),
			}}},
		},
	}
}

// report says of the servers in a pod what its gate makes of them.
func (g *Gates) report(o *object, err error, feed *output.Feed) {
	if errors.Is(err, errNotWriting) || errors.Is(err, errFrozen) {
		return // what another frontend writes is seen here
	}
	said := o.pod.Gate
	if err != nil {
		said = err.Error()
	}
	now := time.Now()
	ties := g.tied[podKey{o.Name, o.pod.UID}]
	for _, t := range ties {
		if g.reported[t.server] == said {
			continue
		}
		g.reported[t.server] = said
		switch {
		case err != nil:
			feed.Failed(t.target, err, now)
		case o.pod.Gate != "":
			s := asGated(t.server, o.pod, ties)
			feed.AppliedOne(t.target, &s, now)
		}
	}
}

// asGated returns a server as its pod's gate makes it: a pod has one, whatever each of its servers
// would need.
func asGated(s *output.Server, p *apiserver.Pod, ties []tie) output.Server {
	made := *s
	switch w := wanted(p, ties, true); {
	case p.Gate == gateFalse && s.State.Serves():
		made.State, made.Reason = output.Out, "its pod is withdrawn"
		if w.status == gateFalse { // else what withdrew it has passed, and the gate is still to follow
			made.Reason += ": " + w.message
		}
	case p.Gate == gateTrue && !s.State.Serves():
		made.State, made.Held, made.Reason = output.In, w.reason == "Held", w.message
	}
	return made
}
