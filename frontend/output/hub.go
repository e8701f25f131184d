package output

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Hub hands assignments to outputs, and keeps what they report. Its methods may be called from any
// goroutine, but for Publish, which one goroutine calls.
type Hub struct {
	feeds    []*Feed
	dryRun   bool
	reported chan struct{}
	frozen   atomic.Bool

	mu      sync.Mutex
	newest  *Assignment
	records map[dynmesh.InstanceKey][]Record // of an instance, by output and target
	reports map[reportKey]Report             // not taken yet: the last one on each
	out     map[reportKey]time.Time          // what was in and is out, since when; not in a dry run
	counts  map[string]Counts                // by output
}

type reportKey struct {
	instance       dynmesh.InstanceKey
	output, target string
}

// Record is what an output did with an instance.
type Record struct {
	Output string
	Target string
	State  State
	Held   bool      // by the floor
	New    bool      // it is out because it was never in
	Since  time.Time // when the output did it
	Reason string    // why it was to do it
	Error  string    // why it cannot do what is decided since; empty: it has
	DryRun bool      // it has done nothing: it would have
}

// Report is a record that is new.
type Report struct {
	Instance dynmesh.InstanceKey
	Record
	Removed bool // the target does not have the instance any longer
}

// Counts is what an output did, and how that stands. A server in several targets counts in each.
type Counts struct {
	Servers [4]int    // in each State now
	Held    int       // of them: in, because of the floor
	Failing int       // of them: what is decided since could not be told
	Changes [4]uint64 // into each State, since the start
	Failed  uint64    // reports that a target could not be told
	Last    *Report   // the last change, and of those at one moment the worst; nil: there was none
	Leads   *bool     // whether this process does what is decided; nil: each does for itself
}

// NewHub returns a hub with a feed for each of the names of outputs. In a dry run nothing comes out
// of the feeds: the hub itself reports what would be done.
func NewHub(names []string, dryRun bool) *Hub {
	h := &Hub{
		dryRun: dryRun, reported: make(chan struct{}, 1), records: map[dynmesh.InstanceKey][]Record{},
		reports: map[reportKey]Report{}, out: map[reportKey]time.Time{}, counts: map[string]Counts{},
	}
	for _, name := range names {
		h.feeds = append(h.feeds, &Feed{output: name, hub: h, changed: make(chan struct{}, 1)})
		h.counts[name] = Counts{}
	}
	return h
}

// Feeds returns a feed for each output, in the order of their names as given.
func (h *Hub) Feeds() []*Feed { return h.feeds }

// Publish makes a the newest assignment. It does not block.
func (h *Hub) Publish(a *Assignment, now time.Time) {
	changed, gone := differences(h.newest, a)
	h.mu.Lock()
	h.newest = a
	for _, r := range gone {
		h.drop(r)
	}
	h.mu.Unlock()
	for _, f := range h.feeds {
		if h.dryRun {
			for _, t := range changed {
				h.applied(f.output, t, t.Servers, true, now)
			}
			continue
		}
		f.newest.Store(a)
		select {
		case f.changed <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}

// Freeze says whether nothing may change.
func (h *Hub) Freeze(frozen bool) { h.frozen.Store(frozen) }

// Frozen returns what Freeze has said last.
func (h *Hub) Frozen() bool { return h.frozen.Load() }

// Newest returns the newest assignment; nil: there is none yet.
func (h *Hub) Newest() *Assignment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}

// differences returns the targets that are new or another one, and what targets have no longer.
func differences(old, now *Assignment) (changed []*Target, gone []reportKey) {
	var was []*Target
	if old != nil {
		was = old.Targets
	}
	for _, t := range now.Targets {
		for len(was) > 0 && was[0].Name < t.Name {
			gone = append(gone, missing(was[0], nil)...)
			was = was[1:]
		}
		var before *Target
		if len(was) > 0 && was[0].Name == t.Name {
			before, was = was[0], was[1:]
		}
		if before != t {
			changed = append(changed, t)
			gone = append(gone, missing(before, t)...)
		}
	}
	for _, t := range was {
		gone = append(gone, missing(t, nil)...)
	}
	return changed, gone
}

// missing returns the servers of a target that it has no longer. Either may be nil.
func missing(old, now *Target) (gone []reportKey) {
	if old == nil {
		return nil
	}
	has := now.instances()
	for i := range old.Servers {
		if of := old.Servers[i].Instance; !has[of] {
			gone = append(gone, reportKey{instance: of, target: old.Name})
		}
	}
	return gone
}

// drop forgets what outputs did with an instance that a target has no longer.
func (h *Hub) drop(of reportKey) {
	kept := slices.DeleteFunc(slices.Clone(h.records[of.instance]), func(r Record) bool {
		if r.Target != of.target {
			return false
		}
		h.tally(r, -1)
		key := reportKey{of.instance, r.Output, r.Target}
		delete(h.out, key)
		h.reports[key] = Report{of.instance, r, true}
		h.notify()
		return true
	})
	if len(kept) == 0 {
		delete(h.records, of.instance)
		return
	}
	h.records[of.instance] = kept
}

// applied notes that an output has told routers of servers.
func (h *Hub) applied(output string, t *Target, servers []Server, dryRun bool, now time.Time) {
	h.mu.Lock()
	has := h.present(t)
	for i := range servers {
		s := &servers[i]
		if !has(s.Instance) {
			continue
		}
		next := Record{
			Output: output, Target: t.Name, State: s.State, Held: s.Held, New: s.New && s.State == Out, Since: now, Reason: s.Reason, DryRun: dryRun,
		}
		last, known := h.record(s.Instance, output, t.Name)
		same := known && last.State == next.State && last.Held == next.Held && last.New == next.New
		if same && last.Error == "" {
			continue
		}
		if same {
			next.Since = last.Since
		} else {
			h.count(output, func(c *Counts) {
				c.Changes[next.State]++
				if c.Last == nil || next.State <= c.Last.State || !c.Last.Since.Equal(now) {
					c.Last = &Report{Instance: s.Instance, Record: next}
				}
			})
		}
		h.note(s.Instance, next)
	}
	h.mu.Unlock()
}

// failed notes that an output could not tell routers of a target.
func (h *Hub) failed(output string, t *Target, err error, now time.Time) {
	h.mu.Lock()
	h.count(output, func(c *Counts) { c.Failed++ })
	has := h.present(t)
	for i := range t.Servers {
		s := &t.Servers[i]
		if !has(s.Instance) {
			continue
		}
		next, known := h.record(s.Instance, output, t.Name)
		if known && (next.State == s.State && next.Held == s.Held && next.New == (s.New && s.State == Out) || next.Error == err.Error()) {
			continue
		}
		if !known {
			next = Record{Output: output, Target: t.Name, New: true, Since: now, Reason: s.Reason}
		}
		next.Error = err.Error()
		h.note(s.Instance, next)
	}
	h.mu.Unlock()
}

// present says which instances a target has by now: an output that is slow reports of one that it
// had.
func (h *Hub) present(t *Target) func(dynmesh.InstanceKey) bool {
	now := h.newest.Target(t.Name)
	if now == t {
		return func(dynmesh.InstanceKey) bool { return true }
	}
	has := now.instances()
	return func(of dynmesh.InstanceKey) bool { return has[of] }
}

// lead notes whether this process does what is decided for an output.
func (h *Hub) lead(output string, leads bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if was := h.counts[output].Leads; was == nil || *was != leads {
		h.count(output, func(c *Counts) { c.Leads = &leads })
		h.notify()
	}
}

// tally adds a record to what its output counts, or takes it off.
func (h *Hub) tally(r Record, by int) {
	h.count(r.Output, func(c *Counts) {
		c.Servers[r.State] += by
		if r.Held {
			c.Held += by
		}
		if r.Error != "" {
			c.Failing += by
		}
	})
}

func (h *Hub) count(output string, change func(*Counts)) {
	c := h.counts[output]
	change(&c)
	h.counts[output] = c
}

func (r Record) compare(o Record) int {
	return cmp.Or(cmp.Compare(r.Output, o.Output), cmp.Compare(r.Target, o.Target))
}

func (h *Hub) record(of dynmesh.InstanceKey, output, target string) (Record, bool) {
	at, known := slices.BinarySearchFunc(h.records[of], Record{Output: output, Target: target}, Record.compare)
	if !known {
		return Record{}, false
	}
	return h.records[of][at], true
}

// note keeps a record. The list is replaced: who was handed the one before reads on in it.
func (h *Hub) note(of dynmesh.InstanceKey, r Record) {
	all := slices.Clone(h.records[of])
	if at, known := slices.BinarySearchFunc(all, r, Record.compare); known {
		h.tally(all[at], -1)
		all[at] = r
	} else {
		all = slices.Insert(all, at, r)
	}
	h.tally(r, 1)
	h.records[of] = all
	key := reportKey{of, r.Output, r.Target}
	delete(h.out, key)
	if r.State == Out && !r.New && !r.DryRun {
		h.out[key] = r.Since
	}
	h.reports[key] = Report{Instance: of, Record: r}
	h.notify()
}

func (h *Hub) notify() {
	select {
	case h.reported <- struct{}{}:
	default:
	}
}

// Reported has a value when TakeReports may have something. One goroutine reads both.
func (h *Hub) Reported() <-chan struct{} { return h.reported }

// TakeReports returns what is new, by instance, output and target: the last of each.
func (h *Hub) TakeReports() []Report {
	h.mu.Lock()
	taken := h.reports
	h.reports = map[reportKey]Report{}
	h.mu.Unlock()
	return slices.SortedFunc(maps.Values(taken), func(a, b Report) int {
		return cmp.Or(a.Instance.Compare(b.Instance), a.compare(b.Record))
	})
}

// Records returns what outputs did with an instance, by output and target. The list never changes.
func (h *Hub) Records(of dynmesh.InstanceKey) []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.records[of]
}

// LongestOut returns of each output since when that server has been out which has been longest, of
// those that were in. Outputs of which none is are not among them.
func (h *Hub) LongestOut() map[string]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := map[string]time.Time{}
	for key, began := range h.out {
		since[key.output] = timers.Earlier(since[key.output], began)
	}
	return since
}

// Counts returns what each output did.
func (h *Hub) Counts() map[string]Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.counts)
}
