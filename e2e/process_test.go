package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// processEngine runs programs as processes on loopback.
type processEngine struct {
	binaries binaries
	why      string
	nextPort *atomic.Int64
}

func newProcessEngine(b binaries, why string) *processEngine {
	e := &processEngine{binaries: b, why: why, nextPort: new(atomic.Int64)}
	// Below the range from which the kernel takes the ports of outgoing connections, so that a program
	// that was stopped finds its port free when it is started again. The process ID keeps two runs on
	// one machine apart, mostly.
	e.nextPort.Store(int64(20000 + os.Getpid()%100*100))
	return e
}

func (e *processEngine) String() string {
	return "plain processes on loopback, NOT containers: " + e.why
}

func (e *processEngine) file(of binary) string { return e.binaries.path(of) }

func (e *processEngine) newSite(t *testing.T) site {
	return &processSite{t: t, engine: e, dir: t.TempDir()}
}

func (e *processEngine) freePort() int {
	for {
		n := int(20000 + (e.nextPort.Add(1)-20000)%12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n)))
		if err == nil {
			l.Close()
			return n
		}
	}
}

type processSite struct {
	t      *testing.T
	engine *processEngine
	dir    string
}

func (s *processSite) reserve(name string, ports ...port) *place {
	p := &place{name: name, bind: "127.0.0.1", host: "127.0.0.1", peer: "127.0.0.1", ports: map[string]int{}}
	for _, port := range ports {
		p.ports[port.name] = s.engine.freePort()
	}
	return p
}

func (s *processSite) launch(spec spec) (program, error) {
	p := &process{
		spec:   spec,
		path:   s.engine.binaries.path(spec.binary),
		dir:    filepath.Join(s.dir, spec.place.name),
		output: &lockedBuffer{},
	}
	env := maps.Clone(spec.env)
	if len(spec.etcd) > 0 {
		var ways []string
		for _, addr := range spec.etcd {
			g := newGate(s.t, addr)
			p.gates = append(p.gates, g)
			ways = append(ways, "http://"+g.addr())
		}
		env["ETCD_ENDPOINTS"] = strings.Join(ways, ",")
	}
	for name, value := range env {
		p.env = append(p.env, name+"="+value)
	}
	s.t.Cleanup(func() { p.end() })
	return p, p.start(sameDisk)
}

type process struct {
	spec   spec
	path   string
	dir    string // its working directory: the disk
	env    []string
	gates  []*gate
	output *lockedBuffer

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd has been waited for
}

func (p *process) where() *place { return p.spec.place }

func (p *process) start(disk disk) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if disk == emptyDisk {
		if err := os.RemoveAll(p.dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(p.path, p.spec.args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	p.cmd, p.ended = cmd, ended
	return nil
}

func (p *process) current() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.ended
}

// end kills what is left of it when its test is over.
func (p *process) end() {
	cmd, ended := p.current()
	if cmd == nil {
		return
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-ended
}

func (p *process) pid() (int, error) {
	cmd, _ := p.current()
	return cmd.Process.Pid, nil
}

func (p *process) signal(sig os.Signal) error {
	cmd, _ := p.current()
	return cmd.Process.Signal(sig)
}

func (p *process) cutOff() error {
	for _, g := range p.gates {
		g.shut()
	}
	return nil
}

func (p *process) reconnect() error {
	for _, g := range p.gates {
		g.reopen()
	}
	return nil
}

func (p *process) state() (state, error) {
	cmd, ended := p.current()
	s := state{life: fmt.Sprintf("process %d", cmd.Process.Pid)}
	select {
	case <-ended:
		s.exitCode = cmd.ProcessState.ExitCode()
	default:
		s.running = true
	}
	return s, nil
}

func (p *process) logs() (string, error) { return p.output.String(), nil }

// lockedBuffer is written by a process and read by the test at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
