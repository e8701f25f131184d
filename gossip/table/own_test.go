package table_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// A measure stands beside what is found of the endpoint, and its sample comes as it was said; what
// no reader would take is refused.
func TestMeasures(t *testing.T) {
	self := dynmesh.Observer{ID: 7, Epoch: 5}
	s := dynmesh.Subject{ID: 7, Endpoint: generate, Measure: dynmesh.MeasurePace}
	measure := dynmesh.Report{Subject: s, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: "\x00\xff\n" + strings.Repeat("x", dynmesh.MaxSample-3)}
	tb, others := newTable(self), newTable(reader)
	var queue table.BroadcastQueue
	for _, r := range []dynmesh.Report{measure, {Subject: dynmesh.Subject{ID: 7, Endpoint: generate}, Kind: dynmesh.KindCanary, Finding: dynmesh.Fail, Reason: dynmesh.ReasonCut}} {
		c, err := tb.Observe(r)
		if err != nil {
			t.Fatal(err)
		}
		queue.Add(c.Entries...)
	}
	first := mustMerge(t, others, queue.Packet(0, 400, 3)...) // of two that do not fit one packet
	if len(first.Set) != 1 || first.Set[0].Kind != dynmesh.KindCanary {
		t.Errorf("first comes %v, want what is found: measures wait", first.Set)
	}
	mustMerge(t, others, queue.Packet(0, 1200, 3)...)
	if o, ok := others.Get(7, s); !ok || o.Sample != measure.Sample || o.Subject != s {
		t.Errorf("others have %+v, %v", o, ok)
	}
	if o, ok := others.Get(7, dynmesh.Subject{ID: 7, Endpoint: generate}); !ok || o.Finding != dynmesh.Fail || o.Sample != "" {
		t.Errorf("beside it others have %+v, %v", o, ok)
	}
	if tb.Digest() == newTable(self).Digest() || others.Digest() != merged(t, append(everything(tb), everything(others)...)).Digest() {
		t.Error("digests do not tell tables with measures apart")
	}
	for name, change := range map[string]func(*dynmesh.Report){
		"of another":     func(r *dynmesh.Report) { r.Subject.ID = 8 },
		"without a name": func(r *dynmesh.Report) { r.Subject.Measure = 0 },
		"of a process":   func(r *dynmesh.Report) { r.Subject.Endpoint = dynmesh.Endpoint{} },
		"too long":       func(r *dynmesh.Report) { r.Sample += "x" },
		"of no measure":  func(r *dynmesh.Report) { r.Kind, r.Subject.Measure = dynmesh.KindCanary, 0 },
	} {
		bad := measure
		change(&bad)
		if _, err := tb.Observe(bad); err == nil {
			t.Errorf("a measure %s is taken", name)
		}
	}
	// Another measure's name on a signed sample is another subject: nobody has signed that.
	e := tb.Own()[0]
	if e.Key().Subject != s {
		e = tb.Own()[1]
	}
	forged := e.Of(self, dynmesh.Subject{ID: 7, Endpoint: generate, Measure: dynmesh.MeasureAnswers})
	if got := mustMerge(t, newTable(reader), table.Pack([]table.Entry{forged}, table.MaxBatch)...); len(got.Set) != 0 {
		t.Errorf("a sample of one measure was taken for one of another: %v", got.Set)
	}
}

// Whatever Observe accepts, others read as it was returned.
func TestWhatIsObservedIsReadTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		self := dynmesh.Observer{ID: 7, Epoch: rapid.Uint64().Draw(rt, "epoch")}
		tb := newTable(self)
		f := dynmesh.Report{
			Subject:  dynmesh.Subject{ID: rapid.SampledFrom([]dynmesh.InstanceID{7, 7, 7, 9, 0}).Draw(rt, "subject")},
			Kind:     rapid.SampledFrom([]dynmesh.Kind{dynmesh.KindCanary, dynmesh.KindTraffic, dynmesh.KindProcess, dynmesh.KindPath, 0, 5}).Draw(rt, "kind"),
			Finding:  rapid.SampledFrom([]dynmesh.Finding{dynmesh.Pass, dynmesh.Fail, dynmesh.Fail, dynmesh.Busy, dynmesh.Unchecked, dynmesh.Stalled, "", "unknown", "x"}).Draw(rt, "finding"),
			Ready:    rapid.Bool().Draw(rt, "ready"),
			Draining: rapid.Bool().Draw(rt, "draining"),
			Reason:   rapid.SampledFrom([]dynmesh.Reason{"", dynmesh.ReasonTimeout, dynmesh.ReasonTimeout, dynmesh.ReasonCut, "x"}).Draw(rt, "reason"),
			Detail:   string(rapid.SliceOf(rapid.Byte()).Draw(rt, "detail")) + rapid.String().Draw(rt, "more"),
			Latency:  time.Duration(rapid.Int64().Draw(rt, "latency")),
			At:       time.Unix(rapid.Int64().Draw(rt, "at"), 0),
		}
		if rapid.Bool().Draw(rt, "endpoint") {
			f.Subject.Endpoint = dynmesh.Endpoint{Name: rapid.String().Draw(rt, "name"), Component: "\xff"}
		}
		// A path that passes has a reason, too: why it passes though it is not as it should be.
		said := f.Finding == dynmesh.Fail || f.Finding == dynmesh.Pass && f.Kind == dynmesh.KindPath
		c, err := tb.Observe(f)
		if err != nil {
			if tb.Stats().Observations != 0 || len(c.Entries) > 0 {
				rt.Fatal("it was refused and has an effect")
			}
			sensible := f.Subject.ID != 0 && f.Kind >= dynmesh.KindCanary && f.Kind <= dynmesh.KindProcess && (f.Kind == dynmesh.KindPath) == (f.Subject.ID != 7) &&
				slices.Contains([]dynmesh.Finding{dynmesh.Pass, dynmesh.Fail, dynmesh.Busy, dynmesh.Unchecked, dynmesh.Stalled}, f.Finding) &&
				(f.Reason != "x" || !said)
			if sensible {
				rt.Fatalf("refused %+v: %v", f, err)
			}
			return
		}
		var d table.BroadcastQueue
		d.Add(c.Entries...)
		got := mustMerge(t, newTable(reader), append(d.Packet(0, 1200, 3), d.Oversized()...)...)
		if len(c.Set) != 1 || !slices.Equal(got.Set, c.Set) {
			rt.Fatalf("observed %+v, others read %+v", c.Set, got.Set)
		}
		o := got.Set[0]
		if len(o.Detail) > dynmesh.MaxDetail || !utf8.ValidString(o.Detail) || strings.ContainsAny(o.Detail, "\n\r\x00") {
			rt.Fatalf("detail %q", o.Detail)
		}
		if _, err := o.At.MarshalJSON(); err != nil || o.Latency < 0 || o.Latency > 24*time.Hour {
			rt.Fatalf("at %v, latency %v: %v", o.At, o.Latency, err)
		}
		if want := f.Reason; said && o.Reason != want || !said && o.Reason != "" {
			rt.Fatalf("reason %q, of %s for %q", o.Reason, o.Finding, want)
		}
		if o.Subject != f.Subject || o.Kind != f.Kind || o.Finding != f.Finding || o.Ready != f.Ready || o.Draining != f.Draining || o.Observer != self {
			rt.Fatalf("observed %+v, others read %+v", f, o)
		}
	})
}

// What is not fit for others does not even go out.
func TestOnlyWhatIsFitIsWritten(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	c := mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: 7}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass,
		Detail: strings.Repeat("\xff\n", 5000), Latency: -time.Hour, At: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)})
	got := c.Entries[0].Unsealed()
	want := table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Detail: c.Set[0].Detail})
	if !bytes.Equal(got, want) || len(c.Set[0].Detail) > dynmesh.MaxDetail {
		t.Errorf("wrote %x, want %x", got, want)
	}
}

func TestWhatIsSaidAgainIsNotSent(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	f := own(7, dynmesh.Fail)
	f.Reason, f.At = dynmesh.ReasonTimeout, clock(0)
	mustObserve(t, tb, f)
	f.At, f.Latency = clock(5), time.Second
	if c := mustObserve(t, tb, f); len(c.Set)+len(c.Entries) > 0 {
		t.Errorf("with another time only: %+v", c)
	}
	f.Reason = dynmesh.ReasonRefused
	if c := mustObserve(t, tb, f); len(c.Set) != 1 || c.Set[0].Seq != 2 || len(c.Entries) != 1 {
		t.Errorf("with another reason: %+v", c)
	}
	tb.Withdraw(f.Subject)
	if c := tb.Withdraw(f.Subject); len(c.Withdrawn)+len(c.Entries) > 0 {
		t.Errorf("withdrawn twice: %+v", c)
	}
	if c := mustObserve(t, tb, f); len(c.Set) != 1 || c.Set[0].Seq != 4 {
		t.Errorf("after a withdrawal: %+v", c)
	}
	if c := tb.Withdraw(dynmesh.Subject{ID: 12}); len(c.Withdrawn)+len(c.Entries) > 0 {
		t.Errorf("withdrew what never was: %+v", c)
	}
}

// Relays bring back what this member said, and that is neither new nor forged.
func TestOwnWordsComeBack(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	var said [][]byte
	say := func(c table.Changes) {
		said = append(said, table.Pack(c.Entries, table.MaxPacket)...)
	}
	for i := range 60 {
		say(mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: dynmesh.InstanceID(10 + i%20)}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass, Ready: i%3 == 0}))
		say(tb.Withdraw(dynmesh.Subject{ID: dynmesh.InstanceID(10 + (i+7)%20)}))
		say(tb.Expire(clock(30 * i)))
	}
	before := tb.Digest()
	got := mustMerge(t, tb, said...)
	if got.Ignored[table.CauseKnown] == 0 || got.Ignored[table.CauseForged] > 0 || len(got.Set)+len(got.Withdrawn)+len(got.Entries) > 0 || tb.Digest() != before {
		t.Errorf("own words: %+v", got)
	}
}

// Withdrawals end, and nobody who follows ever misses what stands, though half of what is sent is
// lost and the rest is late.
func TestWithdrawalsEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		author, follower := newTable(dynmesh.Observer{ID: 7, Epoch: 1}), newTable(reader)
		stands, anew := map[dynmesh.InstanceID]bool{}, map[dynmesh.InstanceID]bool{}
		var way [][]byte // what is on its way, and what will be sent again
		now := 0
		for range rapid.IntRange(50, 300).Draw(rt, "steps") {
			id := dynmesh.InstanceID(rapid.IntRange(100, 160).Draw(rt, "subject"))
			s := dynmesh.Subject{ID: id}
			var c table.Changes
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0, 1:
				c = mustObserve(t, author, dynmesh.Report{Subject: s, Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
				stands[id] = true
			case 2, 3:
				c = author.Withdraw(s)
				delete(stands, id)
			case 4:
				now += rapid.IntRange(0, 50).Draw(rt, "seconds")
				if r := author.Expire(clock(now)); len(r.Entries) > 0 {
					if len(r.Set)+len(r.Withdrawn) > 0 {
						rt.Fatalf("said anew: %+v", r)
					}
					// Settle is there for this: what is said anew is everywhere before the floor
					// is.
					got := mustMerge(t, follower, table.Pack(r.Entries, table.MaxPacket)...)
					for _, k := range got.Withdrawn {
						if anew[k.Subject.ID] {
							rt.Fatalf("%v was withdrawn in between", k)
						}
					}
					if r.Entries[0].Raw() != nil {
						anew = maps.Clone(stands)
					}
				}
			}
			way = append(way, table.Pack(c.Entries, table.MaxPacket)...)
			if len(way) > 0 {
				mustMerge(t, follower, way[rapid.IntRange(0, len(way)-1).Draw(rt, "arrives")])
			}
			st := author.Stats()
			if st.Observations != len(stands) {
				rt.Fatalf("%d stand, want %d", st.Observations, len(stands))
			}
		}
		// In the end all is quiet: the table is compared, and what is old comes once more.
		for range 3 {
			now += 100
			author.Expire(clock(now))
		}
		if st := author.Stats(); st.Withdrawn > max(16, st.Observations/2) {
			rt.Fatalf("%d withdrawals are kept for %d observations", st.Withdrawn, st.Observations)
		}
		mustMerge(t, follower, everything(author)...)
		mustMerge(t, follower, way...)
		if got := standing(follower); len(got) != len(stands) {
			rt.Fatalf("%d stand at the follower, want %d", len(got), len(stands))
		}
		if want := merged(t, everything(author)); !equal(want, follower) {
			rt.Fatal("the follower holds something else")
		}
	})
}

func TestFloorRisesWhenWhatIsSaidAnewHasSettled(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	for i := range 20 {
		mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: dynmesh.InstanceID(10 + i)}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
	}
	for i := range 17 {
		if c := tb.Expire(clock(0)); len(c.Entries) > 0 {
			t.Fatalf("after %d withdrawals: %+v", i, c)
		}
		tb.Withdraw(dynmesh.Subject{ID: dynmesh.InstanceID(10 + i)})
	}
	if c := tb.Expire(clock(0)); len(c.Entries) != 3 || c.Entries[0].Watermark() != 0 || len(c.Set)+len(c.Withdrawn) > 0 {
		t.Fatalf("say anew: %+v", c)
	}
	if c := tb.Expire(clock(59)); len(c.Entries) > 0 || tb.Stats().Withdrawn != 17 {
		t.Fatalf("not settled: %+v", c)
	}
	c := tb.Expire(clock(60))
	if len(c.Entries) != 1 || c.Entries[0].Raw() != nil || c.Entries[0].Watermark() != 38 || len(c.Set)+len(c.Withdrawn) > 0 {
		t.Fatalf("settled: %+v", c)
	}
	if st := tb.Stats(); st.Withdrawn != 0 || st.Observations != 3 {
		t.Fatalf("settled: %+v", st)
	}
}

func TestOwnTableIsBounded(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	f := func(i int) dynmesh.Report {
		return dynmesh.Report{Subject: dynmesh.Subject{ID: dynmesh.InstanceID(10 + i)}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass}
	}
	for i := range table.MaxEntries {
		mustObserve(t, tb, f(i))
	}
	if _, err := tb.Observe(f(table.MaxEntries)); !errors.Is(err, table.ErrFull) {
		t.Fatalf("one more: %v", err)
	}
	tb.Withdraw(f(0).Subject)
	c := mustObserve(t, tb, f(table.MaxEntries))
	if len(c.Set) != 1 || len(c.Withdrawn) != 0 || tb.Stats().Observations != table.MaxEntries || tb.Stats().Withdrawn != 0 {
		t.Errorf("in place of what was withdrawn: %d set, %d withdrawn, %+v", len(c.Set), len(c.Withdrawn), tb.Stats())
	}
	if got := merged(t, everything(tb)); got.Stats().Observations != table.MaxEntries {
		t.Errorf("others hold %+v", got.Stats())
	}
}
