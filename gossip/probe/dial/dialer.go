package dial

import (
	"context"
	"net"
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
	network Network
	report  func(probe.Event)

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	tripwires map[*probe.Dial]context.CancelFunc // open, or being opened
}

// New returns a dialer. Report is given DialEnded and TripwireClosed, from many goroutines, and
// must not wait. The dialer must be followed by Stop and Wait.
func New(n Network, report func(probe.Event)) *Dialer {
	d := &Dialer{network: n, report: report, tripwires: make(map[*probe.Dial]context.CancelFunc)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Start begins a connection.
func (d *Dialer) Start(job *probe.Dial) {
	if job.Kind != probe.OpenTripwire {
		d.wg.Go(func() { d.connect(job) })
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.mu.Lock()
	d.tripwires[job] = cancel
	d.mu.Unlock()
	d.wg.Go(func() {
		d.keepOpen(ctx, job)
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
func (d *Dialer) Wait() { d.wg.Wait() }

// connect connects and hangs up.
func (d *Dialer) connect(job *probe.Dial) {
	began, wait, try := time.Now(), watch.DialTimeout, d.once
	if job.Attempts == watch.Burst {
		wait, try = watch.BurstTimeout, d.burst
	}
	err := try(job.Addr)
	d.report(probe.DialEnded{Dial: job, Outcome: outcomeOf(err, time.Since(began)-wait)})
}

func (d *Dialer) once(addr string) error { return d.attempt(d.ctx, addr, watch.DialTimeout) }

// attempt connects, and hangs up at once.
func (d *Dialer) attempt(ctx context.Context, addr string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := d.network.Dial(ctx, addr)
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it, the kernel remembers each of thousands of connections for a minute
	}
	return conn.Close()
}

// burst connects again and again within watch.BurstTimeout, until one attempt says something. An
// attempt that is under way repeats its lost packets after a second only.
func (d *Dialer) burst(addr string) error {
	ctx, cancel := context.WithTimeout(d.ctx, watch.BurstTimeout)
	defer cancel()
	ended := make(chan error, watch.BurstAttempts)
	tick := time.NewTicker(watch.BurstTimeout / watch.BurstAttempts)
	defer tick.Stop()
	var last error
	running := 0
	begin := func() {
		running++
		d.wg.Go(func() { ended <- d.attempt(ctx, addr, watch.BurstTimeout) })
	}
	begin()
	for begun := 1; running > 0; {
		select {
		case <-tick.C:
			if begun < watch.BurstAttempts {
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

// keepOpen opens a tripwire and holds it until it is closed, by either side.
func (d *Dialer) keepOpen(ctx context.Context, job *probe.Dial) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, watch.DialTimeout)
	conn, err := d.network.OpenTripwire(limited, job.Addr)
	cancel()
	d.report(probe.DialEnded{Dial: job, Outcome: outcomeOf(err, time.Since(began)-watch.DialTimeout)})
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_, _ = conn.Read(make([]byte, 1)) // nobody has anything to say on it
	stop()
	conn.Close()
	d.report(probe.TripwireClosed{Dial: job})
}
