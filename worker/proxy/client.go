package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// watchEvery is how often a client is looked after whose body has not been read. From its end on,
// net/http notices at once when the client leaves.
const watchEvery = 100 * time.Millisecond

// Errors that tell who is to blame.
var (
	errClientGone = errors.New("the client is gone")
	errBadBody    = errors.New("the request's body cannot be read")
)

// upload is the request's body as it passes.
type upload struct {
	io.ReadCloser
	size   atomic.Int64
	ended  atomic.Bool
	failed atomic.Bool // by the client
	onWait func(waiting bool)
	onEnd  func(size int64)

	mu   sync.Mutex     // held by a Read
	scan *pairs.Scanner // of what has passed; nil: it does not matter, or all has
	over bool
}

// Read takes note of the wait, of the end, and of who is named in what passes.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return 0, http.ErrBodyReadAfterClose
	}
	u.onWait(true)
	n, err := u.ReadCloser.Read(p)
	u.onWait(false)
	if u.scan != nil {
		u.scan.Scan(p[:n])
	}
	size := u.size.Add(int64(n))
	if err != nil && !u.ended.Swap(true) {
		if errors.Is(err, io.EOF) {
			u.onEnd(size)
		} else {
			u.failed.Store(true)
		}
	}
	return n, err
}

// stop keeps others from reading on when the request is over: the connection is net/http's then.
func (u *upload) stop(w http.ResponseWriter) {
	if !u.ended.Load() {
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // for a Read that waits
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
}

// watch ends the request's context when the client leaves while its body is unread, until stop is
// called. It returns the request to go on with.
func (u *upload) watch(r *http.Request) (_ *http.Request, stop func()) {
	conn, ok := traffic.ClientOf(r.Context()).(net.Conn)
	if !ok {
		return r, func() {}
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	var timer *time.Timer
	started := make(chan struct{})
	timer = time.AfterFunc(watchEvery, func() {
		<-started
		switch {
		case u.ended.Load() || ctx.Err() != nil:
		case isHungUp(conn):
			cancel(errClientGone)
		default:
			timer.Reset(watchEvery)
		}
	})
	close(started)
	return r.WithContext(ctx), func() {
		timer.Stop()
		cancel(nil)
	}
}
