package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout is for engines on other hosts: one on this host answers or refuses at once.
	dialTimeout = 5 * time.Second

	// idleTimeout is how long a connection to the engine is kept for the next request. uvicorn,
	// which serves vLLM and SGLang, closes its own after 5 s, llama.cpp's server as well; a request
	// that is sent just then is lost, since a POST must not be sent twice.
	idleTimeout = 2 * time.Second

	// maxIdle is large enough for a burst of requests to find the connections of the one before.
	maxIdle = 4096

	// continueTimeout is for engines that do not know Expect: 100-continue. curl waits as long.
	continueTimeout = time.Second

	maxResponseHeader = 1 << 20

	// transportBuffer is that of a connection to the engine for each direction, in bytes. Heads and
	// pieces of streams fit, and what does not goes past it. Thousands of streams have two each.
	transportBuffer = 2 << 10

	// maxReplay is how much of a request's body is kept until its first byte has been sent, in
	// bytes. The transport reads 32 KiB ahead at most.
	maxReplay = 64 << 10
)

// upstream sends requests to the engine. It has no timeout beyond the dial's: an engine may think
// for an hour.
type upstream struct{ transport *http.Transport }

func newUpstream(tls *tls.Config) *upstream {
	dialer := &net.Dialer{Timeout: dialTimeout}
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &upstream{&http.Transport{
		// No Proxy: the environment's is for the outside, and the engine is next door.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &engineConn{Conn: c}, nil
		},
		Protocols:              http1,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        tls,
		DisableCompression:     true, // what the client did not ask for, nobody asks for
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		ReadBufferSize:         transportBuffer,
		WriteBufferSize:        transportBuffer,
	}}
}

// engineConn is a connection to the engine that knows whether it was written to.
type engineConn struct {
	net.Conn
	written atomic.Uint64
}

// Write counts.
func (c *engineConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(uint64(n))
	return n, err
}

// ReadFrom counts, and leaves it to the kernel where it can.
func (c *engineConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.Conn, r)
	c.written.Add(uint64(n))
	return n, err
}

// RoundTrip sends a request once. It is sent again only where an idle connection turned out to be
// dead before a single byte was written to it (golang/go#22158), so that no engine can have seen
// it.
func (e *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	a := &attempt{}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: a.gotConn})
	out := r.WithContext(ctx)
	if r.Body == nil || r.Body == http.NoBody {
		out.Header = withoutPromises(r)
		resp, err := e.transport.RoundTrip(out)
		if err != nil && a.unsent(ctx) {
			e.transport.CloseIdleConnections()
			return e.transport.RoundTrip(out)
		}
		return resp, err
	}
	a.body = &replay{body: r.Body, attempt: a, closed: make(chan struct{})}
	out.Body = a.body
	resp, err := e.transport.RoundTrip(out)
	if err == nil || !a.unsent(ctx) {
		return resp, err
	}
	select {
	case <-a.body.closed: // the transport reads no more of it
	case <-ctx.Done():
		return nil, err
	}
	if !a.unsent(ctx) || a.body.lost {
		return nil, err
	}
	e.transport.CloseIdleConnections() // they have had the same fate
	out = r.WithContext(ctx)
	out.Body = a.body.again()
	return e.transport.RoundTrip(out)
}

// withoutPromises are the headers of a request without a body, so that http.Transport does not send
// it twice: it takes the client's word that this does no harm, and engines do not know of such
// words. What is in the map under another name than Go's goes out all the same.
func withoutPromises(r *http.Request) http.Header {
	h := r.Header
	for _, name := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		values, ok := h[name]
		if !ok || r.Method == http.MethodGet || r.Method == http.MethodHead {
			continue
		}
		h = h.Clone()
		delete(h, name)
		h[strings.ToLower(name)] = values
	}
	return h
}

// attempt is a request on one connection.
type attempt struct {
	body *replay // nil: there is none

	mu     sync.Mutex
	conn   *engineConn
	before uint64 // what conn had written when it was taken
	reused bool
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	c := info.Conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	conn, ok := c.(*engineConn)
	if !ok {
		return // unreachable: all of them are dialled above
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn, a.before, a.reused = conn, conn.written.Load(), info.Reused
	if info.Reused && isClosed(conn.Conn) {
		_ = conn.Close() // so the write fails, before it has written anything
	}
}

// sent says that a byte has been written.
func (a *attempt) sent() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn != nil && a.conn.written.Load() != a.before
}

// unsent says that it failed on an old connection, to which nothing was written.
func (a *attempt) unsent(ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return ctx.Err() == nil && a.conn != nil && a.reused && a.conn.written.Load() == a.before
}

// replay is a body that can be read once more from its beginning, as long as nothing of the request
// has been sent.
type replay struct {
	body    io.ReadCloser
	attempt *attempt
	closed  chan struct{}
	once    sync.Once

	kept []byte
	lost bool // more was read than is kept
	err  error
}

// Read keeps what it reads.
func (b *replay) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	switch {
	case b.lost:
	case b.attempt.sent():
		b.lost, b.kept = true, nil
	case len(b.kept)+n > maxReplay:
		b.lost, b.kept = true, nil
	default:
		b.kept = append(b.kept, p[:n]...)
		b.err = err
	}
	return n, err
}

// Close leaves the body itself open, which the server closes.
func (b *replay) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// again is the body from its beginning. b must be closed, and not lost.
func (b *replay) again() io.ReadCloser {
	return io.NopCloser(io.MultiReader(&keptReader{b.kept, b.err}, b.body))
}

// keptReader reads what was kept, and the error that ended it.
type keptReader struct {
	kept []byte
	err  error
}

// Read returns io.EOF where the rest of the body follows.
func (k *keptReader) Read(p []byte) (int, error) {
	n := copy(p, k.kept)
	k.kept = k.kept[n:]
	switch {
	case len(k.kept) > 0:
		return n, nil
	case k.err != nil && !errors.Is(k.err, io.EOF):
		return n, k.err
	default:
		return n, io.EOF
	}
}
