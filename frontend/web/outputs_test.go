package web_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// router is an output that tells nobody, and reports that it did, or that it could not.
type router struct {
	name   string
	leads  *bool // nil: it says nothing of that
	broken atomic.Bool
}

func (r *router) Name() string   { return r.name }
func (*router) WhenGone() string { return "what was told last stands" }

func (r *router) Run(ctx context.Context, feed *output.Feed) error {
	if r.leads != nil {
		feed.Lead(*r.leads)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-feed.Changed():
		}
		for _, t := range feed.Newest().Targets {
			if r.broken.Load() {
				feed.Failed(t, errors.New("disk full"), time.Now())
			} else {
				feed.Applied(t, time.Now())
			}
		}
	}
}

// routed is a fleet whose frontend has these outputs.
func routed(t *testing.T, dryRun bool, all ...output.Output) *mesh {
	t.Helper()
	m := newMesh(t)
	m.stop()
	m.told, m.dryRun = all, dryRun
	m.start()
	m.add(12, endpoints()...)
	m.settled()
	return m
}

func outputs(t *testing.T, b browser) {
	leads, follows := true, false
	alpha, beta := &router{name: "alpha", leads: &leads}, &router{name: "beta", leads: &follows}
	m := routed(t, false, alpha, beta)
	p := open(t, b, m.url(), desk())
	p.waits("#source-outputs", "outputs: nobody withdrawn")
	p.waits(".output:first-child", "alpha", "this frontend does what is decided", "12 in")
	p.waits(".output:last-child", "beta", "another frontend does what is decided", "12 in", "When dynmesh is gone")
	if got := p.text(".routed"); got != "" {
		t.Errorf("all are in, and it says %q", got)
	}

	killed := m.workers[0]
	killed.killed()
	p.waits("#source-outputs.fair", "outputs: 1 withdrawn")
	p.waits(".trouble.unreachable", killed.host, "out at alpha, beta; next: in once it has worked for 5 s")
	p.waits(cell(killed), "unreachable, out")
	p.waits(".output:first-child", "11 in · 1 out", "ago: gpu-000 out for dynamo.backend.generate: ", "(refused)")

	// One that works again and is out somewhere still has a place among those who are not well.
	m.workers[1].frozen()
	p.waits(cell(m.workers[1]), "not ready, out")
	beta.broken.Store(true)
	m.workers[1].recovered()
	p.waits(".trouble.ready", "gpu-001", "withdrawn", "no answer within 3s", "out at beta", "could not be told since: disk full")
	p.waits("#source-outputs.bad", "routers could not be told, 2 withdrawn")
	p.waits(".output:last-child", "of 1 routers could not be told what is decided now")
	other := open(t, b, m.url()+look(m.workers[1]), desk())
	other.waits("#detail .outputs", "alpha: in", "dynamo.prefill.generate, ", "beta: out", "no answer within 3s", "Could not be told since: disk full")
	p.do(chromedp.SendKeys(chromedp.CSS("#filter"), "withdrawn beta"))
	p.waits("#fleet-note", "2 of 12 shown")
	p.do(chromedp.SendKeys(chromedp.CSS("#filter"), strings.Repeat("\b", len("withdrawn beta"))))
	beta.broken.Store(false)

	// Three of four fail: the floor.
	m.workers[3].frozen()
	m.workers[6].frozen()
	p.waits("#source-outputs.bad", "the floor holds some in, nobody withdrawn")
	p.waits(".trouble.unreachable", "held in by the floor at alpha, beta; next: out as soon as the floor allows it")
	p.waits(".output.held:first-child", "12 in", "3 of them would be out, and the floor holds them in")
	p.waits("#notes", "3 that would be withdrawn stay in")

	p.waits(cell(m.workers[1]), "ready")

	doubts := dynmesh.GossipHealth{Alive: len(m.workers) + 1, Score: 8}
	m.pool.say(dynmesh.GossipUpdate{Health: doubts})
	p.waits("#outputs-note", "Nothing changes, and what routers have stands: this frontend is slow or cut off (health score 8).")
	doubts.Score = 0
	m.pool.say(dynmesh.GossipUpdate{Health: doubts})
	p.becomes("it trusts itself again", `!document.querySelector('#outputs-note').checkVisibility()`)
	if err := m.server.Close(); err != nil {
		t.Fatal(err)
	}
	p.waits("#outputs-note", "Nothing changes, and what routers have stands: the registry cannot be read.")
	p.waits("#source-outputs.bad", "nothing changes")
	p.quiet()
	other.quiet()
}

func dryRun(t *testing.T, b browser) {
	m := routed(t, true, &router{name: "alpha"})
	p := open(t, b, m.url(), desk())
	p.waits("#source-outputs", "outputs: nobody withdrawn, dry run")
	m.workers[0].frozen()
	p.waits("#source-outputs.fair", "outputs: 1 withdrawn, dry run")
	p.waits(".trouble.notready", "would be out at alpha; next: in once")
	p.waits("#outputs-note", "This is a dry run: routers are told nothing")
	if got := p.text(".output"); strings.Contains(got, "does what is decided") {
		t.Errorf("got %q", got)
	}
	p.quiet()
}
