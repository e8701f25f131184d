package dial

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// Network is where connections are made.
type Network interface {
	Dial(ctx context.Context, addr string) (net.Conn, error)

	// OpenTripwire connects to a member's gossip and asks it to hold the connection.
	OpenTripwire(ctx context.Context, addr string) (net.Conn, error)
}

// Dialer connects beside its caller. Its methods may be called from any goroutine, and none but
// Wait waits.
type Dialer struct {
	network  *names
	report   func(probe.Event)
	systems  systemPorts
	canaries canaries

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	tripwires map[*probe.Dial]context.CancelFunc // open, or being opened
}

// New returns a dialer. Report is given DialEnded and TripwireClosed, from many goroutines, and
// must not wait. Canaries go through the frontend of Dynamo's at via; nil: there are none. The
// dialer must be followed by Stop and Wait.
func New(network Network, via *url.URL, report func(probe.Event)) *Dialer {
	n := &names{Network: network, last: make(map[string]netip.AddrPort)}
	d := &Dialer{
		network: n, report: report, systems: newSystemPorts(n), canaries: canaries{via},
		tripwires: make(map[*probe.Dial]context.CancelFunc),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Unresolved is how many names could not be looked up of late, in whose last addresses others were
// sought, and the first of them, with the reason.
func (d *Dialer) Unresolved(now time.Time) (n int, first string) {
	return d.network.unresolved.Now(now)
}

// Start begins a connection.
func (d *Dialer) Start(job *probe.Dial) {
	switch {
	case job.Kind == probe.AskSystem:
		d.wg.Go(func() { d.askSystem(job) })
	case job.Kind == probe.AskStatus:
		d.wg.Go(func() { d.askStatus(job) })
	case job.Kind == probe.SendCanary:
		d.wg.Go(func() { d.sendCanary(job) })
	case job.Kind == probe.OpenTripwire:
		d.keep(job, d.network.OpenTripwire)
	case job.Idle:
		d.keep(job, func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := d.network.Dial(ctx, addr)
			if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
				// The kernel asks the other one whether the host is there: no byte reaches the
				// process.
				err = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: job.Silence, Interval: job.Silence, Count: 1})
			}
			return conn, err
		})
	default:
		d.wg.Go(func() { d.connect(job) })
	}
}

// keep opens a connection, and holds it until it is hung up or ends.
func (d *Dialer) keep(job *probe.Dial, open func(context.Context, string) (net.Conn, error)) {
	ctx, cancel := context.WithCancel(d.ctx)
	d.mu.Lock()
	d.tripwires[job] = cancel
	d.mu.Unlock()
	d.wg.Go(func() {
		d.keepOpen(ctx, job, open)
		d.HangUp(job)
	})
}

// HangUp closes a tripwire, or ends its opening.
func (d *Dialer) HangUp(job *probe.Dial) {
	d.mu.Lock()
	cancel := d.tripwires[job]
	delete(d.tripwires, job)
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Stop ends all connections, and those that are being made.
func (d *Dialer) Stop() { d.cancel() }

// Wait returns when all goroutines have ended. It must follow Stop.
func (d *Dialer) Wait() {
	d.wg.Wait()
	d.systems.close()
}

// connect connects and hangs up.
func (d *Dialer) connect(job *probe.Dial) {
	began := time.Now()
	n, within := job.Attempts.Limits()
	err := d.burst(job.Addr, n, within)
	d.report(probe.DialEnded{Dial: job, Outcome: outcomeOf(err, time.Since(began)-within)})
}

// attempt connects, and hangs up at once and in order: others log a connection that is reset.
func (d *Dialer) attempt(ctx context.Context, addr string) error {
	conn, err := d.network.Dial(ctx, addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// burst connects up to so many times, spread over a time, until one attempt says something. An
// attempt that is under way repeats its lost packets after a second only.
func (d *Dialer) burst(addr string, attempts int, within time.Duration) error {
	ctx, cancel := context.WithTimeout(d.ctx, within)
	defer cancel()
	ended := make(chan error, attempts)
	tick := time.NewTicker(within / time.Duration(attempts))
	defer tick.Stop()
	var last error
	running := 0
	begin := func() {
		running++
		d.wg.Go(func() { ended <- d.attempt(ctx, addr) })
	}
	begin()
	for begun := 1; running > 0; {
		select {
		case <-tick.C:
			if begun < attempts {
				begun++
				begin()
			}
		case err := <-ended:
			running--
			last = err
			if err == nil || outcomeOf(err, 0) != watch.TimedOut {
				return err
			}
		}
	}
	return last
}

// keepOpen opens a connection and holds it until it is closed, by either side.
func (d *Dialer) keepOpen(ctx context.Context, job *probe.Dial, open func(context.Context, string) (net.Conn, error)) {
	began := time.Now()
	_, within := job.Attempts.Limits()
	limited, cancel := context.WithTimeout(ctx, within)
	conn, err := open(limited, job.Addr)
	cancel()
	d.report(probe.DialEnded{Dial: job, Outcome: outcomeOf(err, time.Since(began)-within)})
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = unsaid(conn)
	stop()
	conn.Close()
	d.report(probe.TripwireClosed{Dial: job, Outcome: endOf(err)})
}

// maxUnasked is how much may come on a connection on which nobody has anything to say. It is read,
// since a connection that is closed with something unread is reset.
const maxUnasked = 64 << 10

// unsaid waits for the end of a connection.
func unsaid(conn net.Conn) error {
	var some [64]byte
	for all := 0; all < maxUnasked; {
		n, err := conn.Read(some[:])
		if err != nil {
			return err
		}
		all += n
	}
	return nil
}
