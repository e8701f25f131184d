package attack

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// names is a resolver at a loopback address, at the port that all resolvers have. All names mean
// what answer says.
type names struct {
	conn   net.PacketConn
	mu     sync.Mutex
	answer func(query []byte) []byte // nil: none
	late   time.Duration
	asked  int // how often, under what is in force
}

// Where the resolver is: nobody else is there, on whichever machine.
const resolver = "127.83.7.53"

func startNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", resolver+":53")
	if err != nil {
		install.LeftOut(t, "no resolver can be bound: %v", err)
	}
	n := &names{conn: conn, answer: means(net.IPv4(127, 0, 0, 1))}
	var serving sync.WaitGroup
	serving.Go(func() { n.serve(&serving) })
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	return n
}

func (n *names) serve(serving *sync.WaitGroup) {
	for {
		b := make([]byte, 1500)
		k, from, err := n.conn.ReadFrom(b)
		if err != nil {
			return
		}
		n.mu.Lock()
		answer, late := n.answer, n.late
		n.asked++
		n.mu.Unlock()
		if answer == nil {
			continue
		}
		serving.Go(func() {
			<-time.After(late)
			_, _ = n.conn.WriteTo(answer(b[:k]), from) // he may not wait any more
		})
	}
}

// count is how often it was asked since.
func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// become changes what is answered, and how late; nil: nothing is.
func (n *names) become(answer func([]byte) []byte, late time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer, n.late, n.asked = answer, late, 0
}

// means answers with an address of IPv4, and knows none of IPv6.
func means(ip net.IP) func([]byte) []byte {
	return func(query []byte) []byte {
		b := says(0)(query)
		end := 12
		for b[end] != 0 {
			end += int(b[end]) + 1
		}
		if kind := binary.BigEndian.Uint16(b[end+1:]); kind != 1 {
			return b
		}
		b[7] = 1                                                      // an answer
		b = append(b[:end+5], 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4) // for a second
		return append(b, ip.To4()...)
	}
}

// says answers with a code and nothing else: 2 is a failure, 3 that there is no such name.
func says(code byte) func([]byte) []byte {
	return func(query []byte) []byte {
		b := append([]byte(nil), query...)
		end := 12
		for b[end] != 0 {
			end += int(b[end]) + 1
		}
		b = b[:end+5]
		b[2], b[3] = b[2]|0x80, 0x80|code
		b[6], b[7], b[8], b[9], b[10], b[11] = 0, 0, 0, 0, 0, 0
		return b
	}
}

// TestNames: workers, and the etcd of all, are known by names. That these are answered late, not at
// all, with failures, or that there are no such names, changes no verdict, and the end of a worker
// is noticed. A resolver that says another address is believed, as by whoever sends requests.
func TestNames(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+resolver+"\noptions timeout:1 attempts:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-m", "mount", "--bind", conf, "/etc/resolv.conf").CombinedOutput(); err != nil {
		install.LeftOut(t, "processes here can have no resolver of their own: %v %s", err, out)
	}
	n := startNames(t)
	r := newRig(t, testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd"))
	r.etcd = strings.Replace(r.etcd, "127.0.0.1", "etcd.test", 1)
	r.namespace = []string{"unshare", "-m", "sh", "-c", "mount --bind " + conf + ` /etc/resolv.conf && exec "$0" "$@"`}
	here := "DYN_PROBE_NETWORKS=127.0.0.0/8" // a name may mean it
	r.startFrontend("", here)
	for range 3 {
		r.startWorker("", here, "DYN_HTTP_RPC_HOST=worker.test")
	}
	r.allReady()
	told := func() bool {
		return slices.ContainsFunc(r.warnings(), func(w string) bool { return strings.HasPrefix(w, "names of workers cannot be looked up") })
	}
	for _, now := range []struct {
		what   string
		become func()
		told   bool
	}{
		{"names are answered late", func() { n.become(means(net.IPv4(127, 0, 0, 1)), 3*time.Second) }, true},
		{"names are answered again", func() { n.become(means(net.IPv4(127, 0, 0, 1)), 0) }, false},
		{"names are not answered", func() { n.become(nil, 0) }, true},
		{"names cannot be looked up", func() { n.become(says(2), 0) }, true},
		{"there are no such names", func() { n.become(says(3), 0) }, true},
	} {
		now.become()
		before := passes(r.workers[0])
		r.steady(now.what, func() bool { return passes(r.workers[0]) > before+2 && told() == now.told })
		if n.count() == 0 {
			t.Errorf("%s: nobody has asked, so nothing was tried", now.what)
		}
	}
	r.notices(r.workers[2])
	n.become(means(net.IPv4(127, 0, 0, 2)), 0)
	become := func(what string, v dynmesh.VerdictState) {
		testkit.Eventually(t, soon, what, func() bool {
			all, err := r.verdicts()
			return err == nil && all[0].Verdict == v && all[1].Verdict == v
		})
	}
	become("who has moved to where nobody answers is out of reach", dynmesh.Unreachable)
	n.become(means(net.IPv4(127, 0, 0, 1)), 0)
	become("who has moved to where he answers is ready", dynmesh.Ready)
	r.notices(r.workers[1])
}
