package sidecar

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// rankStill is how long one of several engines behind a server may have requests and take no step,
// until it counts as one that stands still. Engines that read prompts in chunks take one within a
// second. What follows is the endpoint's stall budget, and a canary.
const rankStill = 3 * time.Second

// maxPinned is how many ranks get a canary each, all at once; a server that says that it has more
// of them than any machine has GPUs gets none.
const maxPinned = 16

// ranksMoved is when each of the engines behind a server last took a step, or had nothing to do.
type ranksMoved map[string]time.Time

// next takes in a scrape. Nothing counts across a gap.
func (r ranksMoved) next(before, now engine.Scrape, at time.Time, gap bool) ranksMoved {
	if now.Ranks == nil {
		return nil
	}
	moved := make(ranksMoved, len(now.Ranks))
	for name, totals := range now.Ranks {
		was, known := before.Ranks[name]
		moved[name] = at
		if known && !gap && inFlight(was) > 0 && inFlight(totals) > 0 && !totals.Stepped(was) {
			moved[name] = r[name]
		}
	}
	return moved
}

func inFlight(t engine.Totals) float64 { return max(t[engine.InFlight], t[engine.Queued]) }

// still says which has stood still for the longest, if for long enough; else "".
func (r ranksMoved) still(at time.Time) string {
	part := ""
	longest := rankStill
	for name, moved := range r {
		if stood := at.Sub(moved); stood > longest || stood == longest && (part == "" || name < part) {
			longest, part = stood, name
		}
	}
	if part != "" {
		part = r.part(part) + " stands still"
	}
	return part
}

func (r ranksMoved) part(name string) string { return fmt.Sprintf("rank %s of %d", name, len(r)) }

// pinnable is how many ranks requests can be pinned to: all, where they are counted from 0. A
// server that has some of a larger deployment's numbers them otherwise.
func (r ranksMoved) pinnable() int {
	if len(r) > maxPinned {
		return 0
	}
	for n := range len(r) {
		if _, ok := r[strconv.Itoa(n)]; !ok {
			return 0
		}
	}
	return len(r)
}

// askRanks sends a canary to each of the engines behind the server, beside the one that goes to
// whichever the server chooses. Only one that is late is held against the engine: a server may
// refuse to have requests pinned.
func (s *Sidecar) askRanks(ctx context.Context) error {
	found, _ := s.monitor.current()
	ranks := s.poller.last.Load().ranks
	n := ranks.pinnable()
	if n < 2 || found.engine.RankHeader == "" || len(found.kinds) == 0 {
		return nil
	}
	probes := make([]canary.Probe, n)
	for rank := range probes {
		var err error
		if probes[rank], err = s.probeFor(found, strconv.Itoa(rank)); err != nil {
			return err
		}
	}
	failures := make([]*dynmesh.Failure, n)
	var asked sync.WaitGroup
	for rank, probe := range probes {
		asked.Go(func() { failures[rank] = canary.Check(ctx, probe).Failure })
	}
	asked.Wait()
	for rank, f := range failures {
		if f != nil && schedule.IsLate(f.Reason) {
			return &dynmesh.Failure{Reason: f.Reason, Detail: ranks.part(strconv.Itoa(rank)) + ": " + f.Detail}
		}
	}
	return nil
}
