package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// fakeFleet is a frontend, and the phantoms that it knows. Its fields say what is wrong with it.
type fakeFleet struct {
	finds map[Kind]time.Duration // after so long; a kind that is missing is never found
	reads map[Kind]string        // the reason, in place of the usual one
	drops map[Kind]time.Duration // the registry drops it after so long

	unwatched bool          // nobody else watches phantoms
	gossipOff bool          // the frontend does not gossip
	startErr  error         // no phantom can be started
	startFrom int           // from this phantom on
	away      error         // the frontend cannot be asked
	awayFrom  time.Duration // since the fleet began
	neverWell bool          // phantoms never get ready
	crashes   bool          // phantoms end by themselves, before they are ready
	breaks    bool          // phantoms end by themselves, once they have an order
	accuses   bool          // it suspects those that are well, too
	slips     bool          // it does not answer when it is first asked whether it does
	doubts    bool          // it takes those that are suspect for broken ones

	mu      sync.Mutex // all below and above: one test changes them while drills go on
	began   time.Time
	started int
	open    map[dynmesh.InstanceID]*fakePhantom
	models  map[string]int // phantoms that were started, by what they serve
}

func (f *fakeFleet) start(_ context.Context, role Role) (Phantom, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	if f.startErr != nil && f.started >= f.startFrom {
		return nil, f.startErr
	}
	p := &fakePhantom{fleet: f, id: dynmesh.InstanceID(0xf0 + role.Number), born: time.Now(), ended: make(chan struct{})}
	if f.crashes {
		p.err = errors.New("exit status 2")
		close(p.ended)
	}
	if f.open == nil {
		f.open, f.models = map[dynmesh.InstanceID]*fakePhantom{}, map[string]int{}
	}
	if f.open[p.id] != nil {
		return nil, fmt.Errorf("two phantoms have number %d", role.Number)
	}
	f.open[p.id] = p
	f.models[role.Model]++
	return p, nil
}

func (f *fakeFleet) wrong() (is bool) {
	for _, p := range f.open {
		is = is || p.fault == Wrong && time.Since(p.broken) >= f.finds[Wrong]
	}
	return is
}

func (f *fakeFleet) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// Ready implements Frontend.
func (f *fakeFleet) Ready(context.Context) (expect.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.awayFrom == 0 {
		return expect.Result{}, f.away
	}
	return expect.Result{}, nil
}

// Instance implements Frontend.
func (f *fakeFleet) Instance(ctx context.Context, endpoint string, id dynmesh.InstanceID) (*client.Mesh, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil && time.Since(f.began) >= f.awayFrom {
		return nil, f.away
	}
	p := f.open[id]
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if p == nil || time.Since(p.born) < 100*time.Millisecond {
		return nil, fmt.Errorf("ask: %w", client.ErrNotFound)
	}
	i := mesh.Instance{ID: id, Verdict: dynmesh.Ready, Reasons: []string{"its canary passed"}}
	if !f.unwatched && time.Since(p.born) > 700*time.Millisecond {
		i.Observations = []mesh.Observation{{Kind: "path", Finding: dynmesh.Pass, Counts: true}}
	}
	if f.neverWell || time.Since(p.born) < 500*time.Millisecond {
		i.Verdict, i.Reasons = dynmesh.NotReady, []string{"it has said nothing yet"}
	}
	if p.fault != "" {
		since := time.Since(p.broken)
		if after, drops := f.drops[p.fault]; drops && since >= after {
			return nil, fmt.Errorf("ask: %w", client.ErrNotFound)
		}
		if after, finds := f.finds[p.fault]; finds && since >= after {
			usual := map[Kind]mesh.Instance{
				Killed: {Verdict: dynmesh.Unreachable, Reasons: []string{"2 of 2 watchers cannot reach it: refused"}},
				Frozen: {Verdict: dynmesh.Unreachable, Reasons: []string{"gossip declared its worker dead, and no watcher reaches it"}},
				Hung:   {Verdict: dynmesh.NotReady, Reasons: []string{"its worker's canaries have failed: timeout: no answer"}},
				Errors: {Verdict: dynmesh.NotReady, Reasons: []string{"its worker's canaries have failed: status 500"}},
				Wrong:  {Verdict: dynmesh.Ready, Reasons: i.Reasons, Remarks: []mesh.Remark{{Kind: "slow", Text: "slow: 2 ×"}, {Kind: "answers", Text: suspicion}}},
			}[p.fault]
			i.Verdict, i.Reasons, i.Remarks = usual.Verdict, usual.Reasons, usual.Remarks
			if reason, other := f.reads[p.fault]; other {
				i.Reasons = []string{reason}
			}
		}
	}
	if f.slips && p.fault == "" && f.wrong() {
		f.slips = false
		return nil, errors.New("refused")
	}
	if f.accuses && p.fault == "" && f.wrong() {
		i.Remarks = []mesh.Remark{{Kind: "answers", Text: suspicion}}
	}
	if f.doubts && p.fault == Wrong {
		i.Verdict = dynmesh.NotReady
	}
	m := &client.Mesh{}
	if m.Gossip.State = mesh.GossipJoined; f.gossipOff {
		m.Gossip.State = mesh.GossipOff
	}
	m.Endpoints = []mesh.Endpoint{{Instances: []mesh.Instance{{ID: 1}, i}}}
	return m, nil
}

const suspicion = "suspect: answers differ from 2 of 2 peers"

type fakePhantom struct {
	fleet  *fakeFleet
	id     dynmesh.InstanceID
	born   time.Time
	broken time.Time
	fault  Kind
	ended  chan struct{}
	err    error
}

func (p *fakePhantom) ID() dynmesh.InstanceID { return p.id }
func (p *fakePhantom) Ended() <-chan struct{} { return p.ended }
func (p *fakePhantom) Err() error             { return p.err }
func (p *fakePhantom) Kill() error            { close(p.ended); return p.breakAs(Killed) }
func (p *fakePhantom) Freeze() error          { return p.breakAs(Frozen) }
func (p *fakePhantom) Close() error {
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	delete(p.fleet.open, p.id)
	return nil
}
func (p *fakePhantom) Order(o Order) error {
	return p.breakAs(map[Order]Kind{OrderHang: Hung, OrderErrors: Errors, OrderWrong: Wrong}[o])
}

func (p *fakePhantom) breakAs(k Kind) error {
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	p.fault, p.broken = k, time.Now()
	if p.fleet.breaks && (k == Hung || k == Errors) {
		p.err = errors.New("exit status 2")
	}
	return nil
}

func found() map[Kind]time.Duration {
	return map[Kind]time.Duration{Killed: 300 * time.Millisecond, Frozen: 3 * time.Second, Hung: 13 * time.Second, Errors: 10 * time.Second, Wrong: 31 * time.Second}
}

// but returns what found does, with one kind at another time; 0: never.
func but(k Kind, at time.Duration) map[Kind]time.Duration {
	all := found()
	if all[k] = at; at == 0 {
		delete(all, k)
	}
	return all
}

func TestDrill(t *testing.T) {
	const (
		all    = "killed unreachable 300ms; frozen unreachable 3s; hung notready 13s; errors notready 10s; wrong ready 31s"
		unborn = " notready 30s: it was never ready: it is notready: it has said nothing yet"
		unseen = " none 30s: it was never ready: the frontend cannot be asked: refused\a"
	)
	for _, tt := range []struct {
		name  string
		fleet *fakeFleet
		want  string
		err   string
	}{
		{"all is found", &fakeFleet{finds: found()}, all, ""},
		{"nobody watches", &fakeFleet{finds: found(), unwatched: true}, all, ""},
		{"without gossip", &fakeFleet{finds: found(), gossipOff: true}, all, ""},
		{"one is never found", &fakeFleet{finds: but(Frozen, 0)}, strings.Replace(all, "unreachable 3s", "ready 30s: the verdict is ready", 1), ""},
		{"one is found too late", &fakeFleet{finds: but(Hung, 31*time.Second)}, strings.Replace(all, "notready 13s", "ready 30s: the verdict is ready", 1), ""},
		{"one is found for another reason", &fakeFleet{finds: found(), reads: map[Kind]string{Errors: "it has not spoken for 10 s"}},
			strings.Replace(all, "notready 10s", `notready 30s: the verdict is right, and its reason is another one: none of ["500"]`, 1), ""},
		{"only the lease tells of one", &fakeFleet{finds: but(Killed, 0), drops: map[Kind]time.Duration{Killed: 10 * time.Second}},
			strings.Replace(all, "unreachable 300ms", "ready 10s: the registry dropped it before a verdict said so", 1), ""},
		{"answers are not compared", &fakeFleet{finds: but(Wrong, 0)}, strings.Replace(all, "ready 31s", "ready 1m0s: nothing is remarked on its answers", 1), ""},
		{"those that are right are suspect, too", &fakeFleet{finds: found(), accuses: true},
			strings.Replace(all, "ready 31s", "ready 31s: it says so of f1, too, which is well: "+suspicion, 1), ""},
		{"it is asked once more about those that are right", &fakeFleet{finds: found(), slips: true}, all, ""},
		{"one that answers wrongly is taken for broken", &fakeFleet{finds: found(), doubts: true},
			strings.Replace(all, "wrong ready 31s", "wrong notready 1m0s: the verdict is notready, and it works", 1), ""},
		{"phantoms are never ready", &fakeFleet{neverWell: true}, "killed" + unborn + "; frozen" + unborn + "; hung" + unborn + "; errors" + unborn + "; wrong" + unborn, ""},
		{"the frontend goes away", &fakeFleet{finds: found(), away: errors.New("refused\a"), awayFrom: 2 * time.Second},
			"killed unreachable 300ms; frozen ready 30s: the frontend cannot be asked: refused\a; hung" + unseen + "; errors" + unseen + "; wrong" + unseen, ""},
		{"nobody can be asked", &fakeFleet{away: errors.New("refused")}, "", "refused"},
		{"no phantom starts", &fakeFleet{startErr: errors.New("no etcd")}, "", "drill killed: no etcd"},
		{"one does not start", &fakeFleet{finds: found(), startErr: errors.New("no etcd"), startFrom: 3}, "killed unreachable 300ms; frozen unreachable 3s", "drill hung: no etcd"},
		{"one of three does not start", &fakeFleet{finds: found(), startErr: errors.New("no etcd"), startFrom: 6}, strings.TrimSuffix(all, "; wrong ready 31s"), "drill wrong: no etcd"},
		{"one crashes when it is told to hang", &fakeFleet{finds: found(), breaks: true}, "killed unreachable 300ms; frozen unreachable 3s", "drill hung: the phantom ended by itself: exit status 2"},
		{"phantoms crash", &fakeFleet{crashes: true}, "", "drill killed: the phantom ended by itself: exit status 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.fleet.began = time.Now()
				var lines []string
				results, err := drillOf(t, Config{Frontend: tt.fleet, Start: tt.fleet.start, Report: func(line string) { lines = append(lines, line) }}).Run(t.Context())
				if got := shown(results); got != tt.want || fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
					t.Errorf("got  %s, %v\nwant %s, %s", got, err, tt.want, tt.err)
				}
				if len(tt.fleet.open) != 0 {
					t.Errorf("%d phantoms are left", len(tt.fleet.open))
				}
				if len(results) > 0 && !slices.Contains(lines, "killed: starting a phantom") || len(results) > 4 && !slices.Contains(lines, "wrong: starting 3 phantoms") {
					t.Errorf("nobody is told: %q", lines)
				}
				if strings.ContainsFunc(strings.Join(lines, ""), unicode.IsControl) {
					t.Errorf("a terminal is told: %q", lines)
				}
			})
		})
	}
}

// TestKinds: those that are chosen are tried, in the order of all. Only those are compared that are
// to be, and not with those of another drill.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := &fakeFleet{finds: found(), began: time.Now()}
		for range 2 {
			results, err := drillOf(t, Config{Frontend: fleet, Start: fleet.start, Kinds: []Kind{Wrong, Killed}}).Run(t.Context())
			if got, want := shown(results), "killed unreachable 300ms; wrong ready 31s"; got != want || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
			if got := results[1].Reason; got != suspicion {
				t.Errorf("got the reason %q", got)
			}
		}
		counts := slices.Sorted(maps.Values(fleet.models))
		if !slices.Equal(counts, []int{2, 3, 3}) || fleet.models[""] != 2 {
			t.Errorf("phantoms serve %v", fleet.models)
		}
	})
}

// A word that is no kind is refused: a drill that tries nothing would say that all was found.
func TestUnknownKinds(t *testing.T) {
	for _, kinds := range [][]Kind{{"kiled"}, {Killed, "kiled"}} {
		d, err := New(Config{Kinds: kinds})
		if want := `field Kinds is "kiled": want any of ["killed" "frozen" "hung" "errors" "wrong"]`; d != nil || err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", kinds, err, want)
		}
	}
}

// TestAtOnce: as many have ports of their own.
func TestAtOnce(t *testing.T) {
	for _, tt := range []struct {
		kinds []Kind
		want  int
	}{{nil, 1 + wrongPeers}, {[]Kind{Killed, Hung}, 1}, {[]Kind{Killed, Wrong}, 1 + wrongPeers}} {
		if got := AtOnce(tt.kinds); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.kinds, got, tt.want)
		}
	}
}

// drillOf is a drill whose settings can be used.
func drillOf(t *testing.T, cfg Config) *Drill {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shown is results in words; times to the tenth of a second, since a frontend is asked every 50 ms.
func shown(all []Result) string {
	var words []string
	for _, r := range all {
		verdict := string(r.Verdict)
		if verdict == "" {
			verdict = "none"
		}
		w := fmt.Sprintf("%s %s %v", r.Kind, verdict, r.Took.Truncate(100*time.Millisecond))
		if !r.Found() {
			w += ": " + r.Problem
		}
		words = append(words, w)
	}
	return strings.Join(words, "; ")
}

// A drill that is broken off ends its phantom, and says nothing of the frontend.
func TestDrillIsBrokenOff(t *testing.T) {
	for _, after := range []time.Duration{0, 50 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			fleet := &fakeFleet{finds: but(Killed, 0), began: time.Now()}
			ctx, stop := context.WithCancelCause(t.Context())
			timer := time.AfterFunc(after, func() { stop(errors.New("signal: interrupt")) })
			defer timer.Stop()
			results, err := drillOf(t, Config{Frontend: fleet, Start: fleet.start}).Run(ctx)
			if len(results) != 0 || err == nil || len(fleet.open) != 0 || after > 0 && !strings.HasSuffix(err.Error(), "signal: interrupt") {
				t.Errorf("after %v: got %v, %v, %d phantoms left", after, results, err, len(fleet.open))
			}
		})
	}
}

// TestRepeat: drills go on, what they find is in the metrics, and one that has failed is repeated
// sooner.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := &fakeFleet{finds: but(Frozen, 0), began: time.Now()}
		log := logrus.New()
		log.SetOutput(io.Discard)
		m := NewMetrics(nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		d := drillOf(t, Config{Frontend: fleet, Start: fleet.start})
		go func() {
			defer close(done)
			d.Repeat(ctx, 24*time.Hour, m, logrus.NewEntry(log))
		}()
		want := func(works, failed float64, samples int) {
			t.Helper()
			synctest.Wait()
			fleet.mu.Lock()
			defer fleet.mu.Unlock()
			got := fmt.Sprint(testutil.ToFloat64(m.works.WithLabelValues("frozen")), testutil.ToFloat64(m.failed.WithLabelValues("frozen")), fleet.started)
			if w := fmt.Sprint(works, failed, samples); got != w {
				t.Errorf("after %v: got %s, want %s (works, failed, phantoms)", time.Since(fleet.began), got, w)
			}
		}
		time.Sleep(3 * time.Minute)
		want(0, 1, 7)
		time.Sleep(6 * time.Minute)
		want(0, 1, 7)
		fleet.change(func() { fleet.finds = found() })
		time.Sleep(4 * time.Minute)
		want(1, 1, 14)
		time.Sleep(23 * time.Hour)
		want(1, 1, 14)
		fleet.change(func() { fleet.startErr = errors.New("no etcd") })
		time.Sleep(time.Hour)
		want(0, 2, 15)
		if n := testutil.CollectAndCount(m, "dynmesh_detection_seconds", "dynmesh_detection_failed_total", "dynmesh_detection_works"); n != 15 {
			t.Errorf("got %d series, want 3 for each of 5 kinds", n)
		}
		stop()
		<-done
	})
}

func TestTable(t *testing.T) {
	got := Table([]Result{
		{Kind: Killed, Wants: "unreachable", Verdict: dynmesh.Unreachable, Reason: "2 of 2 watchers cannot reach it\x1b[2J", Took: 312 * time.Millisecond},
		{Kind: Frozen, Wants: "unreachable", Verdict: dynmesh.Ready, Reason: "its canary passed", Took: 30 * time.Second, Problem: "the verdict is ready"},
		{Kind: Hung, Wants: "notready", Took: 30 * time.Second, Problem: "it was never ready: the frontend does not know it"},
	})
	want := `KIND    WANTED       SECONDS  VERDICT      OK   REASON
killed  unreachable  0.31     unreachable  yes  2 of 2 watchers cannot reach it?[2J
frozen  unreachable  30.00    ready        no   the verdict is ready; its reason: its canary passed
hung    notready     30.00    none         no   it was never ready: the frontend does not know it
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
