package canary

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/text"
)

// ErrStopped says that a [Monitor] does not run any more.
var ErrStopped = errors.New("the monitor has stopped")

// maxMaintenance is the longest maintenance that Maintain takes.
const maxMaintenance = 24 * time.Hour

// Monitor keeps asking endpoints whether they work, when nobody else does. All its methods may be
// called from any goroutine, before and during Run. None of them blocks: what they ask for happens
// moments later, in the order of the calls. Register it with Prometheus for its metrics.
type Monitor struct {
	cfg     Config
	policy  schedule.Policy
	metrics metrics
	start   time.Time // of its clock
	wakeup  chan struct{}

	mu          sync.Mutex
	ran         bool
	stopped     bool
	inbox       []message // for Run, in order
	statuses    map[string]Status
	maintenance maintenance
}

type maintenance struct {
	until  time.Time
	reason string
}

// message is something for the goroutine of Run to do.
type message func(*loop)

// NewMonitor returns a monitor, or an error that names the field that is wrong. Run must follow for
// anything to happen.
func NewMonitor(cfg Config) (*Monitor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new canary monitor: %w", err)
	}
	m := &Monitor{
		cfg: cfg, policy: cfg.policy(), start: time.Now(),
		wakeup: make(chan struct{}, 1), statuses: map[string]Status{},
	}
	m.metrics = newMetrics()
	return m, nil
}

// Serve tells that an endpoint accepts requests from now on: the first canary goes out at once. For
// an endpoint that is known already it begins anew: not ready until it is verified again, and
// nothing that a canary of before may still say has any effect. Serve copies e.
func (m *Monitor) Serve(e Endpoint) error {
	if e.Name == "" || !utf8.ValidString(e.Name) { // metrics cannot hold anything else
		return fmt.Errorf("serve endpoint: Name is %q: want a text", e.Name)
	}
	if err := m.post(func(l *loop) { l.serve(e) }); err != nil {
		return fmt.Errorf("serve endpoint %q: %w", e.Name, err)
	}
	return nil
}

// Drain tells that these endpoints take no more requests, or all of them where none is named: they
// are not ready, and get no more canaries, until they are served anew.
func (m *Monitor) Drain(names ...string) {
	names = slices.Clone(names)
	// Once the monitor has stopped, there is nothing left to drain.
	_ = m.post(func(l *loop) { l.drain(names) })
}

// Recheck tells that these endpoints, or all where none is named, may work again if they did not:
// whoever failed its last canary gets the next one now, and not after its pause. It proves nothing,
// and others notice nothing of it.
func (m *Monitor) Recheck(names ...string) {
	names = slices.Clone(names)
	// Once the monitor has stopped, there is nothing left to check.
	_ = m.post(func(l *loop) { l.recheck(names) })
}

// Suspect tells of a sign that these endpoints, or all where none is named, may not work: they are
// asked at once, whatever is in flight, once a second at most and less often where canaries see
// nothing of it. That nobody listens ([dynmesh.ReasonRefused]), and that the engine calls itself
// dead ([dynmesh.ReasonDead]), needs no canary: it counts like one that failed.
func (m *Monitor) Suspect(f *dynmesh.Failure, names ...string) {
	names = slices.Clone(names)
	// Once the monitor has stopped, there is nothing left to check.
	_ = m.post(func(l *loop) { l.suspect(f, names) })
}

// RequestFailed tells why one of these endpoints, or of all where none is named, failed a real
// request. That it did is counted by Endpoint.Activity, which must have it already: three in a row
// make the endpoint not ready. A connection that broke, or could not be made, is a sign as for
// Suspect.
func (m *Monitor) RequestFailed(f *dynmesh.Failure, names ...string) {
	names = slices.Clone(names)
	// Once the monitor has stopped, nobody wants to know.
	_ = m.post(func(l *loop) {
		l.requestFailed(f, names)
		switch f.Reason {
		case dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonCut:
			l.suspect(f, names)
		}
	})
}

// Forget removes an endpoint, and its metrics.
func (m *Monitor) Forget(name string) {
	// Once the monitor has stopped, nothing will speak of it.
	_ = m.post(func(l *loop) { l.forget(name) })
}

// Maintain announces work on the engine that makes it slow for up to d, such as new weights. Until
// then, no canary goes out, and neither the one under way nor any request in flight runs out of
// time; each gets its whole time after that. Everything else goes on: an engine that fails the
// requests it gets is not ready, and one that answers them is.
// Maintenance ends by itself; calling Maintain again replaces it, and 0 ends it now.
func (m *Monitor) Maintain(d time.Duration, reason string) error {
	if d < 0 || d > maxMaintenance {
		return fmt.Errorf("maintenance: the duration is %v: want 0s to %v", d, maxMaintenance)
	}
	reason = text.Line(reason, dynmesh.MaxDetail)
	until := time.Now().Add(d)
	if err := m.post(func(l *loop) { l.maintain(until, reason) }); err != nil {
		return fmt.Errorf("maintenance: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.maintenance = maintenance{until: until, reason: reason}
	return nil
}

// Maintenance tells when the maintenance under way will end, and what it is for. ok is false when
// there is none.
func (m *Monitor) Maintenance() (until time.Time, reason string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !time.Now().Before(m.maintenance.until) {
		return time.Time{}, "", false
	}
	return m.maintenance.until, m.maintenance.reason, true
}

// Status tells what is known of an endpoint. ok is false where it has not been served.
func (m *Monitor) Status(name string) (s Status, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok = m.statuses[name]
	return s, ok
}

// Statuses tells what is known of all endpoints, in the order of their names.
func (m *Monitor) Statuses() []Status {
	m.mu.Lock()
	all := make([]Status, 0, len(m.statuses))
	for _, s := range m.statuses {
		all = append(all, s)
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all
}

// post leaves a message for Run.
func (m *Monitor) post(msg message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	m.inbox = append(m.inbox, msg)
	select {
	case m.wakeup <- struct{}{}:
	default: // it is awake, or will be
	}
	return nil
}

func (m *Monitor) log(endpoint string) *logrus.Entry {
	return m.cfg.Log.WithField("endpoint", endpoint)
}
