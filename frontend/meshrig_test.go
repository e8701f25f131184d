package frontend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// rig is a frontend's whole line but for sockets, on virtual time, which begins at
// 2000-01-01T00:00:00Z.
type rig struct {
	t    *testing.T
	f    *Frontend
	pool *fakePool
	feed chan dynmesh.RegistryUpdate
	log  lockedBuffer
	seq  uint64
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take empties the buffer.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// meshed runs f with a rig; without gossip if alone.
func meshed(t *testing.T, alone bool, f func(*rig)) { expecting(t, "", alone, f) }

// expecting is meshed with expectations.
func expecting(t *testing.T, expectations string, alone bool, f func(*rig)) {
	var all []expect.Expectation
	if expectations != "" {
		var err error
		if all, err = expect.Parse(expectations); err != nil {
			t.Fatal(err)
		}
	}
	configured(t, Config{Expect: all}, alone, f)
}

// configured is meshed with more in the Config.
func configured(t *testing.T, cfg Config, alone bool, f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		rig := &rig{t: t, pool: newFakePool(), feed: make(chan dynmesh.RegistryUpdate)}
		log := logrus.New()
		log.SetOutput(&rig.log)
		log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
		cfg.Host, cfg.InstanceMetrics, cfg.Log = "127.0.0.1", true, logrus.NewEntry(log)
		cfg, err := cfg.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if !alone {
			cfg.Pool = rig.pool
		}
		if rig.f, err = newFrontend(cfg); err != nil {
			t.Fatal(err)
		}
		defer rig.f.server.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			rig.f.loop.run(rig.feed)
		}()
		defer func() {
			close(rig.feed)
			<-done
		}()
		f(rig)
	})
}

// rest lets time pass, and everything happen that is due.
func (r *rig) rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) send(u dynmesh.RegistryUpdate) {
	r.feed <- u
	r.rest(renderWindow)
}

func (r *rig) say(u dynmesh.GossipUpdate) {
	r.pool.say(u)
	r.rest(renderWindow)
}

// member says that gossip knows a worker in that state.
func (r *rig) member(id dynmesh.InstanceID, state dynmesh.MemberState) {
	r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(id, state)}})
}

// next gives an observation its time and a later sequence.
func (r *rig) next(o dynmesh.Observation) dynmesh.Observation {
	r.seq++
	o.Seq, o.At = r.seq, time.Now()
	return o
}

func (r *rig) canary(k dynmesh.InstanceKey, ready bool) {
	r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(testkit.Canary(k, 0, ready))}})
}

// lost says that one worker cannot reach another.
func (r *rig) lost(id, by dynmesh.InstanceID) {
	r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(testkit.Path(id, by, 0, dynmesh.Fail))}})
}

// seen is what tests read of an answer.
type seen struct {
	Version   uint64
	Discovery struct{ Revision int64 }
	Endpoints []seenEndpoint
	Members   []struct{ ID, Role, State string }
	Warnings  []string
}

type seenEndpoint struct {
	seenCounts
	Instances []seenInstance
}

type seenCounts struct {
	Endpoint                                                                   string
	Registered, Ready, Verified, NotReady, Unreachable, Draining, Unregistered int
	Expected                                                                   *int
}

type seenInstance struct {
	ID, Verdict          string
	Verified, Registered bool
	Reasons              []string
	Observations         []struct {
		Observer, Kind, Finding string
		Counts                  bool
	}
	Worker  *struct{ Host, Gossip string }
	Flaps   int
	Since   string
	Changes []struct{ At, From, To, Reason string }
	Outputs []struct {
		Output, Target, State, Reason, Next, Error string
		Held                                       bool
		DryRun                                     bool `json:"dry_run"`
	}
}

// now returns the newest snapshot.
func (r *rig) now() *snapshot.Snapshot { return r.f.server.Newest() }

// mesh returns /mesh.
func (r *rig) mesh() string { return string(r.now().Mesh.Identity.Bytes()) }

func (r *rig) seen() seen {
	r.t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(r.mesh()), &s); err != nil {
		r.t.Fatalf("%v in %s", err, r.mesh())
	}
	return s
}

// of returns an instance as /mesh shows it; one without a verdict if it does not.
func (s seen) of(k dynmesh.InstanceKey) seenInstance {
	for _, e := range s.Endpoints {
		for _, i := range e.Instances {
			if e.Endpoint == k.Endpoint.String() && i.ID == k.ID.String() {
				return i
			}
		}
	}
	return seenInstance{}
}

// want checks the verdict on an instance, and that one of the reasons has these words.
func (r *rig) want(k dynmesh.InstanceKey, verdict, words string) {
	r.t.Helper()
	i := r.seen().of(k)
	if i.Verdict != verdict || !strings.Contains(strings.Join(i.Reasons, "\n"), words) {
		r.t.Errorf("got %q, %q, want %q, %q", i.Verdict, i.Reasons, verdict, words)
	}
}

// lines returns what was logged since the last call.
func (r *rig) lines() []string {
	return strings.FieldsFunc(r.log.take(), func(c rune) bool { return c == '\n' })
}

func member(id dynmesh.InstanceID, host string) dynmesh.RegisteredMember {
	return dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{
		Role: dynmesh.RoleWorker, Host: host, PID: 7, Version: "v1.2.3", StartedAt: time.Unix(946684000, 0),
		SystemURL: "http://" + host + ":8081", GossipAddr: "10.0.0.1:7946", Labels: map[string]string{"zone": "a<b"},
	}}
}

// trio is three instances of one endpoint, each with a worker that gossip knows; they have found
// each other well.
func (r *rig) trio() (a, b, c dynmesh.InstanceKey) {
	a, b, c = testkit.Key("d", "b", "g", 0xa), testkit.Key("d", "b", "g", 0xb), testkit.Key("d", "b", "g", 0xc)
	u := testkit.Synced(testkit.HTTPInstance(a), testkit.HTTPInstance(b), testkit.HTTPInstance(c))
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4}}
	for n, k := range []dynmesh.InstanceKey{a, b, c} {
		u.Members = append(u.Members, member(k.ID, fmt.Sprintf("host-%c", 'a'+n)))
		g.Members = append(g.Members, testkit.Worker(k.ID, dynmesh.Alive))
		g.Observations = append(g.Observations, r.next(testkit.Canary(k, 0, true)))
		for _, by := range []dynmesh.InstanceKey{a, b, c} {
			if by != k {
				g.Observations = append(g.Observations, r.next(testkit.Path(k.ID, by.ID, 0, dynmesh.Pass)))
			}
		}
	}
	r.send(u)
	r.say(g)
	return a, b, c
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }
