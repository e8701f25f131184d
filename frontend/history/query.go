package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dynmesh/dynmesh"
)

// Query says which changes are wanted.
type Query struct {
	Endpoint     string             // empty: of all
	ID           dynmesh.InstanceID // 0: all
	Since, Until time.Time          // both within; zero: without a bound
	Before       string             // [Page.Before] of the page that came before; empty: the newest
	Limit        int                // of entries, at least 1
}

func (q Query) about(s Subject) bool {
	return s != (Subject{}) && (q.Endpoint == "" || s.Endpoint == q.Endpoint) && (q.ID == 0 || s.ID == q.ID)
}

// subjects returns those that it is about, by their numbers.
func (q Query) subjects(tx *bolt.Tx) (map[uint32]Subject, error) {
	if q.Endpoint == "" || q.ID == 0 {
		return subjects(tx, q.about)
	}
	s := Subject{q.Endpoint, q.ID} // found without a look at the others
	n := tx.Bucket(bucketSubjects).Get(s.key())
	if len(n) != 4 {
		return nil, nil
	}
	return map[uint32]Subject{binary.BigEndian.Uint32(n): s}, nil
}

// bounds returns Since and Until in milliseconds.
func (q Query) bounds() (since, until int64) {
	until = 1<<63 - 1
	if !q.Since.IsZero() {
		since = q.Since.UnixMilli()
	}
	if !q.Until.IsZero() {
		until = q.Until.UnixMilli()
	}
	return since, until
}

// Page is the newest changes that a Query wants, the oldest first.
type Page struct {
	Entries []Entry
	Before  string // for the Query that asks for what is older; empty: there is no more
	Damaged int    // parts of files that could not be read
}

// position is where in the history an entry stands: within its file by time, then by subject.
type position struct {
	file   int64 // when it began
	at     int64
	number uint32
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.file, o.file), cmp.Compare(p.at, o.at), cmp.Compare(p.number, o.number))
}

func (p position) String() string { return fmt.Sprintf("%d.%d.%d", p.file, p.at, p.number) }

// ErrCursor is the error of a Before that no page had.
var ErrCursor = errors.New("before: want what an answer has given as before")

func parsePosition(s string) (p position, err error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return p, ErrCursor
	}
	var n [3]int64
	for i, part := range parts {
		if n[i], err = strconv.ParseInt(part, 10, 64); err != nil || n[i] < 0 {
			return p, ErrCursor
		}
	}
	return position{n[0], n[1], uint32(n[2])}, nil
}

// found is an entry that was looked for.
type found struct {
	position
	head
	index int // in its block
	block block
}

// sel returns the newest changes. It reads files from the newest on until it has enough.
func (s *store) sel(q Query) (page Page, err error) {
	before := position{file: 1<<63 - 1}
	if q.Before != "" {
		if before, err = parsePosition(q.Before); err != nil {
			return page, err
		}
	}
	since, until := q.bounds()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range slices.Backward(s.files) {
		if f.begin() > until || f.until() < since || f.begin() > before.file {
			continue
		}
		if page.Before != "" || len(page.Entries) >= q.Limit { // there may be more in this one
			page.Before = cmp.Or(page.Before, position{f.begin(), 1<<63 - 1, 0}.String())
			break
		}
		err := f.view(func(tx *bolt.Tx) error {
			all, err := q.subjects(tx)
			if err != nil || len(all) == 0 {
				return err
			}
			var some []found
			skipped := 0 // by this reading of it: it may be read again
			for b := range f.blocks(tx, all, &skipped) {
				for i, h := range b.heads {
					x := found{position{f.begin(), h.at, b.number}, h, i, b}
					if !h.carried && h.at >= since && h.at <= until && x.compare(before) < 0 {
						some = append(some, x)
					}
				}
			}
			sort.Slice(some, func(i, k int) bool { return some[i].compare(some[k].position) < 0 })
			if room := q.Limit - len(page.Entries); len(some) > room {
				some = some[len(some)-room:]
				page.Before = some[0].String()
			}
			read := s.read(some, all, &skipped)
			page.Entries = append(read, page.Entries...)
			page.Damaged += skipped
			return nil
		})
		if err != nil {
			page.Damaged++
		}
	}
	return page, nil
}

// read reads the Data of entries. It outlives the transaction, and keeps nothing else of the blocks
// in memory: of a large fleet they are many times as much.
func (s *store) read(some []found, subjects map[uint32]Subject, skipped *int) []Entry {
	in := map[*byte][]int{} // what is wanted of each block, which is decompressed once
	for n, x := range some {
		in[&x.block.value[0]] = append(in[&x.block.value[0]], n)
	}
	entries := make([]Entry, len(some))
	for _, wanted := range in {
		b := some[wanted[0]].block
		var data [][]byte
		err := guarded(func() (err error) { // it may be on more pages than its heads
			data, err = s.coder.data(b.value, len(b.heads))
			return err
		})
		if err != nil {
			*skipped++
			continue
		}
		for _, n := range wanted {
			x, e := some[n], &entries[n]
			line := data[x.index]
			if len(line) > 0 && !json.Valid(line) { // its checksum says only that it was written so
				*skipped++
				continue
			}
			*e = Entry{Subject: subjects[x.block.number], At: time.UnixMilli(x.head.at).UTC(), From: wordOf(x.from), To: wordOf(x.to), Carried: x.carried}
			if len(line) > 0 {
				e.Data = bytes.Clone(line)
			}
		}
	}
	return slices.DeleteFunc(entries, func(e Entry) bool { return e.At.IsZero() }) // of blocks that are damaged
}

// NoneError says that nothing is known of a moment, and why.
type NoneError struct {
	At          time.Time
	Ended, Next time.Time // between which nobody watched; zero: there is no such side
}

func (e *NoneError) Error() string {
	at := stamp(e.At.UnixMilli())
	switch {
	case e.Ended.IsZero() && e.Next.IsZero():
		return "nothing is known of " + at + ": the history has just begun"
	case e.Ended.IsZero():
		return "nothing is known of " + at + ": the history begins at " + stamp(e.Next.UnixMilli())
	case e.Next.IsZero():
		return "nothing is known of " + at + ": the history ends at " + stamp(e.Ended.UnixMilli())
	}
	return "nothing is known of " + at + ": between " + stamp(e.Ended.UnixMilli()) + " and " + stamp(e.Next.UnixMilli()) + " this frontend did not watch"
}

// aliveEvery is how often a run says that somebody is watching though nothing changes.
const aliveEvery = time.Minute

// runAt returns the run of a moment, and its file. The store must be locked.
func (s *store) runAt(at time.Time) (*file, run, error) {
	t, none := at.UnixMilli(), &NoneError{At: at}
	for _, f := range slices.Backward(s.files) {
		for n, r := range slices.Backward(f.runs) {
			if r.begin > t {
				none.Next = time.UnixMilli(r.begin)
				continue
			}
			slack := 2 * aliveEvery.Milliseconds() // nobody has said since then that he is watching
			if r.closed || n < len(f.runs)-1 {
				slack = 0
			}
			if t > r.until+slack {
				none.Ended = time.UnixMilli(r.until)
				return nil, r, none
			}
			return f, r, nil
		}
	}
	return nil, run{}, none
}

// State is how everything stood at a moment.
type State struct {
	At      time.Time
	About   json.RawMessage // what stood around the instances; nil: it is not known
	Entries []Entry         // the last one of each cause and each instance that was shown, by endpoint and ID
	Damaged int             // parts of files that could not be read
}

// at returns how everything stood.
func (s *store) at(at time.Time) (state State, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, r, err := s.runAt(at)
	if err != nil {
		return state, err
	}
	state.At = at
	err = f.view(func(tx *bolt.Tx) error {
		all, err := subjects(tx, func(Subject) bool { return true })
		if err != nil {
			return err
		}
		last := map[uint32]found{}
		state.Damaged = 0 // it may be read again
		for b := range f.blocks(tx, all, &state.Damaged) {
			for i, h := range b.heads {
				if h.at >= r.begin && h.at <= at.UnixMilli() && h.at >= last[b.number].head.at {
					last[b.number] = found{position{number: b.number}, h, i, b}
				}
			}
		}
		some := make([]found, 0, len(last))
		for _, x := range last {
			if x.to != 0 || all[x.block.number] == (Subject{}) {
				some = append(some, x)
			}
		}
		state.Entries = s.read(some, all, &state.Damaged)
		return nil
	})
	sort.Slice(state.Entries, func(i, k int) bool {
		a, b := &state.Entries[i], &state.Entries[k]
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.ID, b.ID)) < 0
	})
	if len(state.Entries) > 0 && state.Entries[0].Subject == (Subject{}) {
		state.About, state.Entries = state.Entries[0].Data, state.Entries[1:]
	}
	return state, err
}

// Point is how many instances were in which state at the end of a step.
type Point struct {
	At      time.Time
	Known   bool // somebody was watching
	Changes int  // within the step
	Counts  map[dynmesh.VerdictState]int
}

// counts returns n points, the last one at until.
func (s *store) counts(since, until time.Time, n int) (points []Point, err error) {
	from, step := since.UnixMilli(), max(1, until.Sub(since).Milliseconds()/int64(n))
	points = make([]Point, n)
	for i := range points {
		points[i].At = time.UnixMilli(from + int64(i+1)*step).UTC()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.files {
		if f.begin() > until.UnixMilli() || f.until() < from-2*aliveEvery.Milliseconds() {
			continue
		}
		var all []moved
		skipped := 0
		err := f.view(func(tx *bolt.Tx) error {
			of, err := subjects(tx, Subject.isInstance)
			if err != nil {
				return err
			}
			all = all[:0]
			for b := range f.blocks(tx, of, &skipped) {
				for _, h := range b.heads {
					all = append(all, moved{b.number, h})
				}
			}
			return nil
		})
		if err != nil {
			continue // what is known of the others is something
		}
		sort.Slice(all, func(i, k int) bool { return all[i].at < all[k].at })
		for _, r := range f.runs {
			tally(points, r, all, from, step)
		}
	}
	return points, nil
}

// moved is a change without its Data.
type moved struct {
	number uint32
	head
}

// tally fills in the points of one run.
func tally(points []Point, r run, all []moved, from, step int64) {
	state := map[uint32]byte{}
	var counts [otherWord + 1]int
	next := max(0, int((r.begin-from)/step)) // the first point that is after its beginning
	fill := func(until int64) {
		for ; next < len(points) && points[next].At.UnixMilli() < until; next++ {
			p := &points[next]
			p.Known, p.Counts = true, map[dynmesh.VerdictState]int{}
			for word, n := range counts {
				if word > 0 && n > 0 {
					p.Counts[wordOf(byte(word))] += n
				}
			}
		}
	}
	i := sort.Search(len(all), func(i int) bool { return all[i].at >= r.begin })
	for ; i < len(all) && all[i].at <= r.until; i++ {
		x := all[i]
		fill(x.at)
		counts[min(state[x.number], otherWord)]--
		counts[min(x.to, otherWord)]++
		state[x.number] = x.to
		if at := x.at - from; !x.carried && at > 0 && int((at-1)/step) < len(points) {
			points[(at-1)/step].Changes++
		}
	}
	fill(r.until + aliveEvery.Milliseconds())
}
