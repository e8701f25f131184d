package history

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/internal/text"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DYNMESH_HISTORY_WRITER"); dir != "" {
		writeUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// fleet is a made-up fleet: a Picture that does change.
type fleet struct {
	mu    sync.Mutex
	all   map[Subject][]byte
	about string
}

func newFleet() *fleet {
	return &fleet{all: map[Subject][]byte{}, about: `{"discovery":{"state":"synced"}}`}
}

func (f *fleet) About() []byte { return []byte(f.about) }

func (f *fleet) Each() iter.Seq2[Subject, []byte] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.All(maps.Clone(f.all))
}

// instance is what /mesh says of an instance, with evidence as real ones have it.
func instance(k dynmesh.InstanceKey, to dynmesh.VerdictState, at time.Time) []byte {
	stamp := mesh.Time{Time: at}
	var noise [8]byte // what differs each time: IDs of observers and latencies
	binary.BigEndian.PutUint64(noise[:], uint64(at.UnixNano())*0x9e3779b97f4a7c15)
	yes := to == dynmesh.Ready
	observed := func(kind string, by uint64) mesh.Observation {
		o := mesh.Observation{Observer: dynmesh.InstanceID(by).String(), Kind: kind, Finding: dynmesh.Pass, LatencySeconds: float64(noise[0])/1e4 + float64(noise[1])/1e6, At: stamp, Counts: true}
		if kind == "canary" {
			o.Ready = &yes
		}
		if !yes {
			o.Finding, o.Reason, o.Detail = dynmesh.Fail, dynmesh.ReasonTimeout, "no answer within 3s from http://10.0.3.17:8000/v1/completions"
		}
		return o
	}
	i := mesh.Instance{
		ID: k.ID, Verdict: to, Verified: yes, Registered: true, Since: stamp,
		Reasons: []string{fmt.Sprintf("a canary of its own failed at %s (timeout): no answer within 3s", at.UTC().Format(time.RFC3339Nano))},
		Observations: []mesh.Observation{
			observed("canary", uint64(k.ID)), observed("path", 0x694d9b9000000000|uint64(noise[2])), observed("path", 0x694d9b9000000000|uint64(noise[3])),
		},
		Worker:    &mesh.Worker{Host: fmt.Sprintf("gpu-%03d", uint64(k.ID)%1000), Version: "v1.2.3", Labels: map[string]string{"zone": "b", "rack": "r17", "gpu": "H200"}, PID: 4711, StartedAt: mesh.Time{Time: at.Add(-time.Hour).Truncate(24 * time.Hour)}, SystemURL: "http://10.0.3.17:8081", GossipAddr: "10.0.3.17:7946", Gossip: dynmesh.Alive},
		Transport: []byte(`{"http":"http://10.0.3.17:8888/v1"}`), Models: []mesh.Model{{Name: "meta-llama/Llama-3.3-70B-Instruct", WorkerType: "decode"}},
		Changes: []mesh.Change{{At: stamp, From: dynmesh.Ready, To: to, Reason: "as it was before"}},
	}
	return text.JSON(i)
}

// set makes an instance be in a state, and returns the change.
func (f *fleet) set(k dynmesh.InstanceKey, from, to dynmesh.VerdictState, at time.Time) Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Subject{strings.ToValidUTF8(k.Endpoint.String(), "\uFFFD"), k.ID}
	if to == "" {
		delete(f.all, s)
	} else {
		f.all[s] = instance(k, to, at)
	}
	return Entry{Subject: s, At: at, From: from, To: to, Data: f.all[s]}
}

// kept is a journal under test, whose steps are taken by hand, at times of the test's own.
type kept struct {
	*Journal
	*fleet
	t   *testing.T
	dir string
	now time.Time
	log *strings.Builder
}

func at(clock string) time.Time {
	t, err := time.Parse(time.RFC3339, "2026-11-"+clock+"Z")
	if err != nil {
		panic(err)
	}
	return t
}

// open opens a journal in a folder, at a time.
func open(t *testing.T, dir string, now time.Time, f *fleet) *kept {
	t.Helper()
	k := &kept{fleet: f, t: t, dir: dir, now: now, log: &strings.Builder{}}
	log := logrus.New()
	log.SetOutput(k.log)
	j, err := New(Config{Dir: dir, Newest: func() Picture { return f }, Log: logrus.NewEntry(log)})
	if err != nil {
		t.Fatal(err)
	}
	j.began = now
	k.Journal = j
	t.Cleanup(func() {
		if k.store.Load() != nil {
			k.kill()
		}
	})
	return k
}

// step has the journal write, and fails if it cannot.
func (k *kept) step() {
	k.t.Helper()
	if err := k.Journal.step(k.now); err != nil {
		k.t.Fatal(err)
	}
}

// change has an instance change a moment later, and the journal write it.
func (k *kept) change(id uint64, from, to dynmesh.VerdictState) {
	k.t.Helper()
	k.now = k.now.Add(time.Second)
	key := testkit.Key("dynamo", "backend", "generate", id)
	k.Record([]Entry{k.set(key, from, to, k.now)}, false)
	k.step()
}

// many has 200 instances change one after another, which the journal writes at once.
func (k *kept) many(from, to dynmesh.VerdictState) {
	k.t.Helper()
	for n := range uint64(200) {
		k.now = k.now.Add(time.Second)
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", n+1), from, to, k.now)}, false)
	}
	k.step()
}

// end closes it in order.
func (k *kept) end() {
	s := k.store.Swap(nil)
	if err := s.close(k.now); err != nil {
		k.t.Error(err)
	}
}

// kill leaves the files as a process does that is killed: everything is where it was.
func (k *kept) kill() {
	s := k.store.Swap(nil)
	s.sealing.Wait()
	for _, f := range s.files {
		_ = f.close()
	}
	s.coder.close()
	_ = s.lock.Close()
}

// story is what is known of a question, a word each.
func (k *kept) story(q Query) string {
	k.t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	page, err := k.Select(q)
	if err != nil {
		k.t.Fatal(err)
	}
	var words []string
	for _, e := range page.Entries {
		words = append(words, fmt.Sprintf("%s:%s>%s", e.ID, e.From, e.To))
	}
	return strings.Join(words, " ")
}

// stood is how everything stood, a word each.
func (k *kept) stood(when time.Time) string {
	k.t.Helper()
	s, err := k.At(when)
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, e := range s.Entries {
		words = append(words, fmt.Sprintf("%s:%s", e.ID, e.To))
	}
	return strings.Join(words, " ")
}

// files are the names in the folder.
func (k *kept) names() []string {
	k.t.Helper()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		k.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}
