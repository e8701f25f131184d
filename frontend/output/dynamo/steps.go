package dynamo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// How long what speaks for an instance holds.
const (
	respectReturn = 15 * time.Second // one that has put its key back itself is not withdrawn again before
	withinTargets = 15 * time.Second // one that stands in the journal and in no target is put back after
)

// want is what is decided about one instance, over all targets that it is in.
type want struct {
	in     bool   // some target has it in
	proved bool   // no target has it in, and it has been found not to work
	reason string // of its endpoint's target
	by     string // the target that keeps it in though its endpoint has it out
}

// wanted returns what is decided about Dynamo's instances. One is withdrawn where all of its
// targets have it out: what the floor of a model keeps in stays in.
//
//	targets have it                          | it is
//	---------------------------------------- | ---------------------------------------
//	in or degraded, one of them at least     | in
//	out, and it has worked, or is held so    | proved not to
//	out, because it is new, or comes back    | neither: as it stands
//	draining                                 | neither: as it stands
func wanted(a *output.Assignment) map[dynmesh.InstanceKey]want {
	all := map[dynmesh.InstanceKey]want{}
	if a == nil {
		return all
	}
	for _, t := range a.Targets {
		endpoint := isEndpoint(t)
		for n := range t.Servers {
			s := &t.Servers[n]
			if !steered(s) {
				continue
			}
			x, known := all[s.Instance]
			if !known {
				x.proved = true
			}
			x.proved = x.proved && s.State == output.Out && !s.New && s.Verdict != dynmesh.Ready
			x.in = x.in || s.State.Serves()
			switch {
			case endpoint:
				x.reason = s.Reason
			case s.State.Serves():
				x.by = t.Name
			}
			all[s.Instance] = x
		}
	}
	return all
}

// isEndpoint says whether a target is an endpoint, and no model.
func isEndpoint(t *output.Target) bool { return strings.HasPrefix(t.Name, "dyn://") }

// steered says whether a server may be Dynamo's: its router knows none that speaks HTTP.
func steered(s *output.Server) bool { return s.Scheme != "http" && s.Scheme != "https" }

// memory is what is remembered from one look at the journal to the next.
type memory struct {
	stray    map[dynmesh.InstanceKey]time.Time // in the journal and in no target: since when
	returned map[dynmesh.InstanceKey]time.Time // has put its key back itself: when
}

func newMemory() memory {
	return memory{stray: map[dynmesh.InstanceKey]time.Time{}, returned: map[dynmesh.InstanceKey]time.Time{}}
}

// step is one thing to do.
type step struct {
	key      dynmesh.InstanceKey
	withdraw bool            // else it is put back, or its entry dropped
	reason   string          // to withdraw it
	entry    etcd.Withdrawal // to put it back
}

// steps returns what to do, by key. Those that put back come first.
//
//	in the journal | its key  | decided                | to do
//	-------------- | -------- | ---------------------- | ------------------------------------
//	no             | there    | proved not to work     | withdraw, 15 s after a return at least
//	no             | there    | else                   | –
//	yes            | gone     | in                     | put back
//	yes            | gone     | in no target for 15 s  | put back: nobody says what is wrong
//	yes            | gone     | else                   | –
//	yes            | is back  | anything               | drop the entry; it has returned
func steps(wants map[dynmesh.InstanceKey]want, journal []etcd.Withdrawal, m memory, now time.Time) (all []step) {
	maps.DeleteFunc(m.returned, func(_ dynmesh.InstanceKey, at time.Time) bool { return now.Sub(at) >= respectReturn })
	out := make(map[dynmesh.InstanceKey]bool, len(journal))
	for _, w := range journal {
		x, known := wants[w.Key]
		out[w.Key] = true
		if known || w.Back {
			delete(m.stray, w.Key)
		} else if _, since := m.stray[w.Key]; !since {
			m.stray[w.Key] = now
		}
		since, stray := m.stray[w.Key]
		switch {
		case w.Back:
			m.returned[w.Key] = now
			all = append(all, step{key: w.Key, entry: w})
		case x.in, stray && now.Sub(since) >= withinTargets:
			all = append(all, step{key: w.Key, entry: w})
		}
	}
	maps.DeleteFunc(m.stray, func(key dynmesh.InstanceKey, _ time.Time) bool { return !out[key] })
	for key, x := range wants {
		if _, returned := m.returned[key]; x.proved && !out[key] && !returned {
			all = append(all, step{key: key, withdraw: true, reason: x.reason})
		}
	}
	slices.SortFunc(all, func(a, b step) int {
		if a.withdraw != b.withdraw {
			if b.withdraw {
				return -1
			}
			return 1
		}
		return cmp.Or(a.key.Compare(b.key))
	})
	return all
}

// stands returns a server as Dynamo's router sees it.
func stands(s output.Server, w *etcd.Withdrawal, x want) output.Server {
	switch {
	case w != nil && !w.Back:
		s.State, s.Held, s.Reason = output.Out, false, w.Reason
	case s.State == output.Out && !s.New && x.by != "":
		s.State, s.Held, s.Reason = output.In, true, x.by+" needs it: "+s.Reason
	default:
		s.State = output.In
	}
	return s
}
