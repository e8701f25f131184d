package attack

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	limit    = 256 << 20 // bytes that a process may have resident, as in a container with so many
	goLimit  = limit / 10 * 9
	patience = 30 * time.Second
)

// victim is a worker that strangers reach at all of its ports.
type victim struct {
	*testkit.Process
	t                        *testing.T
	requests, status, gossip string // host:port
}

func startWorker(t *testing.T, program string) *victim {
	t.Helper()
	v := &victim{t: t, requests: free(t), status: free(t), gossip: free(t)}
	cmd := exec.Command(program, "worker")
	cmd.Env = append(os.Environ(),
		fmt.Sprint("GOMEMLIMIT=", goLimit), "ETCD_ENDPOINTS=http://127.0.0.1:1",
		"DYN_HTTP_RPC_BIND=127.0.0.1", "DYN_HTTP_RPC_PORT="+portOf(v.requests),
		"DYN_SYSTEM_HOST=127.0.0.1", "DYN_SYSTEM_PORT="+portOf(v.status), "DYN_GOSSIP_BIND="+v.gossip,
		"DYN_GOSSIP_KEY=none", // so that strangers get as far as they can
	)
	v.Process = testkit.Start(t, "worker", cmd)
	testkit.Eventually(t, patience, "the worker lives", v.lives)
	return v
}

func (v *victim) lives() bool {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + v.status + "/livez")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// peak is the most that a process has had resident, in bytes.
func peak(t *testing.T, p *testkit.Process) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatalf("it is gone: %v", err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// stands is what holds after each attack.
func (v *victim) stands() {
	v.t.Helper()
	select {
	case <-v.Ended():
		v.t.Fatal("the worker has ended")
	default:
	}
	testkit.Eventually(v.t, patience, "the worker answers", v.lives)
	if peak := peak(v.t, v.Process); peak > limit {
		v.t.Errorf("it had %d MiB, more than %d", peak>>20, limit>>20)
	} else {
		v.t.Logf("it had %d MiB at most", peak>>20)
	}
}

// crowd connects so often from one address, says what there is to say on each, and lets go of all
// at the end of the attack.
func (v *victim) crowd(addr string, n int, say func(c net.Conn)) {
	v.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: patience}
	var conns []net.Conn
	var saying sync.WaitGroup
	for range n {
		c, err := d.Dial("tcp", addr)
		if err != nil {
			continue // it may be full
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		conns = append(conns, c)
		saying.Go(func() { say(c) })
	}
	saying.Wait()
	if len(conns) == 0 {
		v.t.Error("nobody could connect: nothing was tried")
	}
	v.stands()
	for _, c := range conns {
		_ = c.Close()
	}
}

func label() []byte { return append([]byte{244, 7}, "dynmesh"...) }

// heads of push/pulls that name a million members.
func millions() []byte {
	b := append(append(label(), 6, 0x83, 0xa5), "Nodes"...)
	b = binary.BigEndian.AppendUint32(append(b, 0xce), 1<<20)
	b = append(append(b, 0xac), "UserStateLen"...)
	b = append(append(b, 0, 0xa4), "Join"...)
	return append(b, 0xc3)
}

// bomb is a packet that becomes size bytes.
func bomb(size int) []byte {
	var packed bytes.Buffer
	w := lzw.NewWriter(&packed, lzw.LSB, 8)
	_, _ = w.Write(make([]byte, size))
	_ = w.Close()
	b := append(append(label(), 9, 0x82, 0xa4), "Algo"...)
	b = append(append(b, 0, 0xa3), "Buf"...)
	b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(packed.Len()))
	return append(b, packed.Bytes()...)
}

// Whatever strangers send, and however much they announce, a worker of 256 MiB stands, and answers
// those who come from elsewhere.
func TestMemory(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	v := startWorker(t, testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh"))
	body := bytes.Repeat([]byte(" "), 24<<20)
	for _, attack := range []struct {
		name string
		run  func()
	}{
		{"bodies that are announced", func() {
			v.crowd(v.requests, 200, func(c net.Conn) {
				_, _ = io.WriteString(c, "POST /v1/rpc/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554432\r\n\r\n ")
			})
		}},
		{"bodies that come slowly", func() {
			v.crowd(v.requests, 40, func(c net.Conn) {
				_, _ = io.WriteString(c, "POST /v1/rpc/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554432\r\n\r\n")
				_, _ = c.Write(body)
			})
		}},
		{"bodies to the status server", func() {
			v.crowd(v.status, 200, func(c net.Conn) {
				_, _ = io.WriteString(c, "POST /maintenance HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554432\r\n\r\n")
				_, _ = c.Write(body[:1<<20])
			})
		}},
		{"connections that say nothing", func() { v.crowd(v.requests, 4000, func(net.Conn) {}) }},
		{"members by the million", func() {
			v.crowd(v.gossip, 126, func(c net.Conn) { _, _ = c.Write(millions()) })
		}},
		{"streams that come slowly", func() {
			begin := append(append(label(), 8, 0x81, 0xaa), "UserMsgLen"...)
			begin = binary.BigEndian.AppendUint32(append(begin, 0xce), 1<<20)
			v.crowd(v.gossip, 400, func(c net.Conn) { _, _ = c.Write(append(slices.Clone(begin), body[:900<<10]...)) })
		}},
		{"packets that are compressed", func() {
			c, err := net.Dial("udp", v.gossip)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			small, large := bomb(400<<10), bomb(30<<20)
			for range 500 {
				_, _ = c.Write(small)
				_, _ = c.Write(large)
			}
			v.stands()
		}},
	} {
		t.Log(attack.name)
		attack.run()
	}
}
