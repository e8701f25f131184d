package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// tripTimeout is for a dial: within it, an engine's kernel takes the connection or refuses it.
	tripTimeout = time.Second

	// briefly is how long a tripwire stands at most that is as good as closed at once.
	briefly = time.Second

	// minRedial is the pause after a tripwire that stood briefly. It doubles with each further one, up
	// to maxRedial. An engine that dies may take one more connection before it closes its port.
	minRedial, maxRedial = 5 * time.Millisecond, 5 * time.Second

	// maxBrief is how many of them in a row are a sign: what takes connections for the engine has
	// nobody behind it.
	maxBrief = 3

	// awayRedial is the pause while nobody listens.
	awayRedial = 250 * time.Millisecond

	// roomTimeout is for the question whether the engine answers beside a tripwire.
	roomTimeout = 2 * time.Second
)

// tripwire is an idle connection to the engine, which the engine's kernel closes in the moment in
// which its process dies. That it was closed is no finding: some engines close what is idle, others
// answer that it took too long. It is dialled again at once, and only these are findings:
//
//	refused   nobody listens
//	no answer to the dial within tripTimeout
//	three connections in a row that were taken and closed at once
//
// There is none where an engine serves one connection at a time: each time that the engine has
// come, it is asked once beside the tripwire, and once more without.
type tripwire struct {
	addr string      // host:port
	tls  *tls.Config // nil: plain
	ask  func(ctx context.Context) error
	log  *logrus.Entry

	onTrouble func(*dynmesh.Failure)
	onBack    func() // the engine takes connections, and did not before
}

// newTripwire makes that of the engine which c asks. ask asks it anything, by a connection of its
// own, and returns an error where no answer comes.
func newTripwire(c client, ask func(context.Context) error, onTrouble func(*dynmesh.Failure), onBack func(), log *logrus.Entry) *tripwire {
	w := &tripwire{addr: c.root.Host, ask: ask, log: log, onTrouble: onTrouble, onBack: onBack}
	if c.root.Port() == "" {
		w.addr = net.JoinHostPort(c.root.Hostname(), map[string]string{"http": "80", "https": "443"}[c.root.Scheme])
	}
	if c.root.Scheme == "https" {
		w.tls = c.tls.Clone()
		if w.tls == nil {
			w.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		w.tls.ServerName = c.root.Hostname()
	}
	return w
}

// run holds the tripwire until ctx ends, or until it turns out that the engine has no room for it.
func (w *tripwire) run(ctx context.Context) {
	there, checked, brief := false, false, 0
	for ctx.Err() == nil {
		conn, err := w.dial(ctx)
		pause := awayRedial
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if there {
				w.onTrouble(err)
			}
			there, checked, brief = false, false, 0
		default:
			if !there {
				there = true
				w.onBack()
			}
			if !checked {
				var room bool
				if room, checked = w.hasRoom(ctx, conn); !room {
					if checked {
						return
					}
					_ = timers.Sleep(ctx, maxRedial)
					continue
				}
			}
			if lasted := hold(ctx, conn); lasted > briefly {
				brief = 0
			} else {
				brief++
			}
			if brief == maxBrief {
				w.onTrouble(&dynmesh.Failure{Reason: dynmesh.ReasonCut, Detail: "connections are taken and closed at once"})
			}
			pause = redialPause(brief)
		}
		_ = timers.Sleep(ctx, pause) // the loop looks at ctx
	}
}

// redialPause is the pause after so many tripwires in a row that stood briefly.
func redialPause(brief int) time.Duration {
	if brief == 0 {
		return 0
	}
	return min(minRedial<<min(brief-1, 20), maxRedial)
}

// dial connects, or says why that failed.
func (w *tripwire) dial(ctx context.Context) (net.Conn, *dynmesh.Failure) {
	ctx, cancel := context.WithTimeout(ctx, tripTimeout)
	defer cancel()
	var conn net.Conn
	var err error
	if w.tls == nil {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", w.addr)
	} else {
		conn, err = (&tls.Dialer{Config: w.tls}).DialContext(ctx, "tcp", w.addr)
	}
	switch {
	case err == nil:
		return conn, nil
	case isConnectionRefused(err):
		return nil, &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused: the engine has closed its port", Err: err}
	default:
		return nil, &dynmesh.Failure{Reason: dynmesh.ReasonUnreachable, Detail: text.Error(err, dynmesh.MaxDetail), Err: err}
	}
}

// hold waits until the connection ends, and says how long it stood. Whatever the engine has to say
// on it, such as a status 408, ends it.
func hold(ctx context.Context, conn net.Conn) time.Duration {
	began := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close() // in order: a reset is an error in some engines' logs
	return time.Since(began)
}

// hasRoom says whether the engine answers while the tripwire stands. Where it does not, and does
// without, the connection was all that it can serve; where it does not either way, nothing is
// known. conn is closed where there is no room.
func (w *tripwire) hasRoom(ctx context.Context, conn net.Conn) (room, known bool) {
	if w.answers(ctx) {
		return true, true
	}
	_ = conn.Close()
	if !w.answers(ctx) {
		return false, false
	}
	w.log.Info("Engine serves one connection at a time: none is held to notice its death at once")
	return false, true
}

func (w *tripwire) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roomTimeout)
	defer cancel()
	return w.ask(ctx) == nil
}

// askAnything asks the engine for a page, by a connection of its own. Any answer will do.
func (c client) askAnything(ctx context.Context, path string) error {
	t := c.http.Transport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	once := client{http: &http.Client{Transport: t, CheckRedirect: c.http.CheckRedirect}, root: c.root, key: c.key}
	resp, err := once.get(ctx, c.url(path), "")
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	return errors.Join(resp.Body.Close())
}
