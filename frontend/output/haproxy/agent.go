package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What one client can take. HAProxy sends a line at once, and reads a line.
const (
	maxConnections = 1024
	maxQuestion    = 512
	maxReason      = 120 // bytes of a reason in an answer
	answerWithin   = 2 * time.Second
	maxWithdrawals = 100_000 // that are remembered
)

// restoreWithin bounds how long an agent that stops goes on answering.
const restoreWithin = 3 * time.Second

// Config says where an [Agent] listens.
type Config struct {
	Addr string // host:port; a port of 0 is any free one, see Agent.Addr
	Log  *logrus.Entry
}

// Agent answers HAProxy's agent-checks. It is an [output.Output].
type Agent struct {
	log      *logrus.Entry
	listener net.Listener
	slots    chan struct{}                // a value for each connection
	servers  atomic.Pointer[serversByAsk] // nil: nothing is decided yet
	unknown  atomic.Bool                  // a server that is not known has been logged

	withdrawn withdrawals
}

// serversByAsk are all servers, by what HAProxy may ask for them.
type serversByAsk map[string]answerable

type answerable struct {
	target *output.Target
	server *output.Server
}

// New binds the address. The agent is released by Run.
func New(cfg Config) (*Agent, error) {
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "haproxy", Field: "Addr", Err: err}
	}
	return &Agent{
		log: cfg.Log, listener: ln, slots: make(chan struct{}, budget.Files(16, maxConnections)),
		withdrawn: withdrawals{names: map[asker]bool{}, none: make(chan struct{})},
	}, nil
}

// Addr returns the host:port that the agent listens on.
func (a *Agent) Addr() string { return a.listener.Addr().String() }

// Name implements output.Output.
func (*Agent) Name() string { return "haproxy" }

// WhenGone implements output.Output.
func (*Agent) WhenGone() string {
	return "a frontend that stops in order has HAProxy take all servers back; one that is killed leaves down those that are, whatever HAProxy's own checks find, " +
		"until an agent answers again or somebody says 'set server BACKEND/SERVER agent up' at HAProxy's socket"
}

// Run implements output.Output.
func (a *Agent) Run(ctx context.Context, feed *output.Feed) error {
	if ctx.Err() != nil {
		return a.listener.Close()
	}
	a.log.WithField("addr", a.Addr()).Info("Frontend answers HAProxy's agent-checks")
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { failed <- a.serve(serving, feed) })
	defer running.Wait()
	defer func() { _ = a.listener.Close() }()
	for {
		select {
		case err := <-failed:
			return fmt.Errorf("serve %s: %w", a.Addr(), err)
		case <-ctx.Done():
			a.restore()
			return nil
		case <-feed.Changed():
			a.servers.Store(index(feed.Newest()))
		}
	}
}

// index returns all servers by what may be asked for them. Of several targets that a server is in,
// its endpoint is meant where none is named.
func index(a *output.Assignment) *serversByAsk {
	all := serversByAsk{}
	for _, t := range a.Targets {
		endpoint := strings.HasPrefix(t.Name, "dyn://")
		for i := range t.Servers {
			s := &t.Servers[i]
			for _, name := range []string{s.Addr, s.Instance.ID.String()} {
				if name == "" {
					continue
				}
				all[name+" "+t.Name] = answerable{t, s}
				if endpoint {
					all[name] = answerable{t, s}
				}
			}
		}
	}
	return &all
}

// serve answers until the listener is closed, and returns when all connections have ended.
func (a *Agent) serve(ctx context.Context, feed *output.Feed) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := a.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // such as too many open files
			select {
			case <-ctx.Done():
				return err
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		select {
		case a.slots <- struct{}{}:
			connections.Go(func() {
				defer func() { <-a.slots }()
				a.answer(conn, feed)
			})
		default:
			_ = conn.Close() // no answer changes nothing
		}
	}
}

// answer answers one connection's question.
func (a *Agent) answer(conn net.Conn, feed *output.Feed) {
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return
	}
	asked, ok := question(conn)
	servers := a.servers.Load()
	if !ok || servers == nil {
		return
	}
	found, known := (*servers)[asked]
	if !known {
		if a.unknown.CompareAndSwap(false, true) {
			a.log.WithField("asked", text.Line(asked, maxReason)).
				Warn("HAProxy asks for a server that is not registered, and is told nothing; others are not logged")
		}
		return
	}
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	by := asker{asked, host}
	line := a.withdrawn.line(by, found.server)
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return
	}
	if line == allIn {
		a.withdrawn.restored(by)
	}
	if line == lineOf(found.server) { // it does not stop
		feed.AppliedOne(found.target, found.server, time.Now())
	}
}

// question reads a line. One without its end counts once the client has sent all that it will.
func question(conn io.Reader) (asked string, ok bool) {
	buffer := make([]byte, 0, maxQuestion)
	for len(buffer) < maxQuestion {
		n, err := conn.Read(buffer[len(buffer):maxQuestion])
		buffer = buffer[:len(buffer)+n]
		if line, _, whole := strings.Cut(string(buffer), "\n"); whole || errors.Is(err, io.EOF) {
			asked = strings.Join(strings.Fields(line), " ")
			return asked, asked != ""
		}
		if err != nil {
			return "", false
		}
	}
	return "", false
}

// allIn is what all are told by an agent that stops.
const allIn = "up ready 100%"

// lineOf is the answer for a server. A reason is of few characters: HAProxy takes what follows the
// # up to the end of the line.
func lineOf(s *output.Server) string {
	switch s.State {
	case output.In, output.Degraded:
		return fmt.Sprintf("up ready %d%%", s.State.Weight())
	case output.Draining:
		return "up drain"
	}
	return "down #" + text.Line(s.Reason, maxReason)
}

// withdrawals are the servers that somebody was told to leave alone, or to send less.
type withdrawals struct {
	mu       sync.Mutex
	names    map[asker]bool
	stopping bool          // all are told that they are in
	none     chan struct{} // closed when stopping, and names is empty
}

// asker is who asks for what.
type asker struct{ asked, host string }

// line returns the answer for a server, and takes note of one that withdraws it.
func (w *withdrawals) line(by asker, s *output.Server) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return allIn
	}
	line := lineOf(s)
	if line != allIn && len(w.names) < maxWithdrawals {
		w.names[by] = true
	}
	return line
}

// restored takes note that somebody has been told that a server is in.
func (w *withdrawals) restored(by asker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.names[by] {
		return
	}
	delete(w.names, by)
	if w.stopping && len(w.names) == 0 { // once: none is added any more
		close(w.none)
	}
}

// restore has all be told that they are in, until each that was told otherwise has been told, or
// the time is over: HAProxy would leave them out for good.
func (a *Agent) restore() {
	a.withdrawn.mu.Lock()
	a.withdrawn.stopping = true
	some := len(a.withdrawn.names)
	a.withdrawn.mu.Unlock()
	if some == 0 {
		return
	}
	select {
	case <-a.withdrawn.none:
	case <-time.After(restoreWithin):
		a.log.Warn("HAProxy did not ask for all servers that were withdrawn: those stay down until an agent answers again")
	}
}
