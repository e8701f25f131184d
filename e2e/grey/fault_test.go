package grey

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// fault is what happens to the first of the replicas.
type fault struct {
	name, what string

	// knobs are those of its engine then; pace is added. Empty: strike says what happens.
	knobs string
	// before are the knobs of all engines until then, if more than pace.
	before string

	strike func(f *fleet)   // where dynmesh stands before the engines
	alone  func(r *replica) // where a router does

	reason  string        // that has to be among what is said of it
	goal    time.Duration // to be found within; while idle, too, unless loaded
	loaded  bool          // the goal is for beside requests only
	setting string        // that dynmesh needs to find it, on; it is off by default
	beside  bool          // the verdict stays what it is: the reason stands beside it
	control bool          // it is none: a router that leaves the replica alone has other reasons
}

func (f fault) String() string { return f.name }

// The answers of an engine take firstToken and seven times token: 90 ms. That is slow enough to
// tell from one of half the pace, on a machine that others use.
const pace = `"first_token_delay":"20ms","token_delay":"10ms"`

// slowFirst is for what canaries of one token have to tell of.
const slowFirst = `"first_token_delay":"100ms"`

// Goals.
const (
	soon  = 15 * time.Second
	later = time.Minute
)

// pairs are the engines that requests say their prompt was read by, in turn.
func pairs() []string { return []string{"prefill-0", "prefill-1"} }

func faults() []fault {
	hangs := `(?i)timeout|frozen|stall|no progress`
	return []fault{
		{name: "frozen", what: "its engine is stopped (SIGSTOP), and its kernel takes connections", reason: hangs, goal: soon,
			strike: func(f *fleet) { f.signal(f.replicas[0].engine.PID(), syscall.SIGSTOP) },
			alone:  func(r *replica) { r.signal(r.engine.PID(), syscall.SIGSTOP) }},
		{name: "midstream", what: "each answer of its engine stops after one token", knobs: `"freeze":1`, reason: hangs, goal: soon},
		{name: "gauges-0", what: "its engine answers nothing, and its gauges say that nothing runs", knobs: `"freeze":0,"idle_gauges":true`, reason: hangs, goal: soon},
		{name: "deadlock", what: "its engine answers nothing, and /health says 200", knobs: `"freeze":0`, reason: hangs, goal: soon},
		{name: "dead", what: "its engine is dead behind a live API server: 500, and /health says 200", knobs: `"error_status":500`, reason: `\b500\b`, goal: soon},
		{name: "error-chunk", what: "its engine answers 200, and a stream that is an error", knobs: `"error_chunk":0`, reason: `(?i)error_chunk|EngineCore|error in`, goal: soon},
		{name: "no-tokens", what: "its engine answers 200, and no tokens", knobs: `"empty":true`, reason: `(?i)no_?tokens|empty|malformed|without|no_done|ended`, goal: soon},
		{name: "wrong", what: "its engine's tokens are others than they should be", knobs: `"wrong":1`, reason: `(?i)suspect`, goal: later, beside: true, setting: answers},
		{name: "repeat", what: "its engine says one token over and over", knobs: `"repeat":1`, reason: `(?i)suspect|repeat`, goal: later, beside: true, setting: answers},
		{name: "slow", what: "its engine is two times slower, whose first token takes 100 ms else", knobs: slowFirst + `,"slow":2`, before: slowFirst, reason: `(?i)slow`, goal: later, loaded: true, beside: true},
		{name: "rank", what: "one of its engine's two ranks answers nothing, each second request is its", knobs: `"ranks":2,"dead_rank":1`, before: `"ranks":2`,
			reason: `(?i)timeout|stall|no progress|rank`, goal: soon},
		{name: "pair", what: "requests fail at it (500) whose prompt one of two prefill engines has read", knobs: `"broken_pair":"` + pairs()[0] + `"`,
			reason: "prefill " + pairs()[0], goal: soon, beside: true, setting: pairCanary},
		{name: "one-way", what: "packets reach it, and only those to etcd leave it", reason: `(?i)cannot reach|timeout`, goal: soon,
			strike: func(f *fleet) { f.silence() },
			alone:  func(r *replica) { r.front.is(silent) }},
		{name: "unserved", what: "an instance is registered that nobody serves", reason: `(?i)refused`, goal: soon,
			strike: func(f *fleet) { f.register() },
			alone:  func(r *replica) { r.front.is(closed) }},
		{name: "stopped", what: "its process is stopped (SIGSTOP), and somebody keeps its lease alive", reason: `(?i)cannot reach|no_answer|timeout`, goal: soon,
			strike: func(f *fleet) {
				f.keepLease()
				f.signal(f.replicas[0].worker.PID(), syscall.SIGSTOP)
			},
			alone: func(r *replica) { r.signal(r.engine.PID(), syscall.SIGSTOP) }},
		{name: "none", what: "nothing breaks, behind routers: one that leaves the replica alone then has other reasons", control: true,
			alone: func(*replica) {}},
	}
}

// said returns what is said of a replica that is the right reason; "" where nothing is.
func (f fault) said(lines []string) string {
	right := regexp.MustCompile(f.reason)
	if i := slices.IndexFunc(lines, right.MatchString); i >= 0 {
		return lines[i]
	}
	return ""
}

// withPace are knobs, with the pace that all have but for what they say themselves.
func withPace(knobs string) string { return "{" + strings.Trim(pace+","+knobs, ",") + "}" }

func (r *replica) signal(pid int, s syscall.Signal) {
	r.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		r.t.Fatal(err)
	}
}

func (f *fleet) signal(pid int, s syscall.Signal) { f.t.Helper(); f.replicas[0].signal(pid, s) }

// etcd returns a client, until the end of the test.
func (f *fleet) etcd() *clientv3.Client {
	f.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{f.Etcd.Endpoint()}, DialTimeout: 10 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = client.Close() })
	return client
}

// keepLease keeps the lease of the replica that breaks alive, whose number is its ID.
func (f *fleet) keepLease() {
	f.t.Helper()
	kept, err := f.etcd().KeepAlive(f.ctx, clientv3.LeaseID(f.broken))
	if err != nil {
		f.t.Fatal(err)
	}
	<-kept
	f.running.Go(func() {
		for range kept { // until the cell ends
		}
	})
}

// register registers what nobody serves: the instance of a worker, with another ID and a port that
// is shut. It is the one that is broken then.
func (f *fleet) register() {
	f.t.Helper()
	client, ctx := f.etcd(), f.t.Context()
	const instances = "v1/dynmesh/instances/dynamo/backend/generate/"
	found, err := client.Get(ctx, instances+fmt.Sprintf("%x", uint64(f.broken)))
	if err != nil || len(found.Kvs) != 1 {
		f.t.Fatalf("the instance of a worker in etcd: %v, %v", found, err)
	}
	id := dynmesh.InstanceID(0x600d)
	value := strings.NewReplacer(fmt.Sprint(uint64(f.broken)), fmt.Sprint(uint64(id)), f.replicas[0].addr, fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(f.t))).
		Replace(string(found.Kvs[0].Value))
	if _, err := client.Put(ctx, instances+fmt.Sprintf("%x", uint64(id)), value); err != nil {
		f.t.Fatal(err)
	}
	f.broken = id
}
