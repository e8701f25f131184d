package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// copyBuffer is how much of a body is under way at once, in bytes. Thousands of streams have one
// each, and pieces of a stream are far smaller.
const copyBuffer = 4 << 10

// Config says which engine a [Proxy] stands in front of.
type Config struct {
	// Backend is the engine's root, such as http://127.0.0.1:8000; required. A /v1 at its end is
	// that of the routes, and is dropped.
	Backend string

	// APIKey goes along as Authorization: Bearer where the client sent no key of its own. It is in
	// no log and no error.
	APIKey string

	TLS *tls.Config // of an engine behind https; nil: the system's authorities

	// Generates says which requests make the engine work. They alone are counted. The path is as
	// the client wrote it. Default: [Generates].
	Generates func(method, path string) bool

	// OnFailure is told of each request that the engine failed, from many goroutines. It must not
	// block.
	OnFailure func(*dynmesh.Failure)

	// OnPair is told of each request whose prompt another engine has read, as the request says, and
	// that was answered (nil) or that the engine failed. It is called as OnFailure is, before it.
	// Nil: requests are not read.
	OnPair func(pairs.Peer, *dynmesh.Failure)

	Log *logrus.Entry // nil discards
}

// Proxy passes requests on to one engine. Make it with [New].
type Proxy struct {
	cfg     Config
	root    *url.URL
	prefix  string // path of root, escaped
	engine  *upstream
	reverse httputil.ReverseProxy
	tracker traffic.Tracker
	times   traffic.Times
	metrics *metrics

	answers, garbage atomic.Uint64 // that were read
}

// New checks cfg. Nothing is asked of the engine. Errors name the field that is wrong.
func New(cfg Config) (*Proxy, error) {
	root, err := parse.Root(cfg.Backend)
	if err != nil {
		return nil, fmt.Errorf("new proxy: %w", dynmesh.NewConfigError("proxy", "Backend", text.URL(cfg.Backend), "http://HOST:PORT"))
	}
	if strings.ContainsFunc(cfg.APIKey, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, fmt.Errorf("new proxy: %w", dynmesh.NewConfigError("proxy", "APIKey", nil, "characters that a header can carry"))
	}
	if cfg.Generates == nil {
		cfg.Generates = Generates
	}
	if cfg.OnFailure == nil {
		cfg.OnFailure = func(*dynmesh.Failure) {}
	}
	cfg.Log = logging.OrDiscard(cfg.Log).WithField("component", "proxy").WithField("addr", text.URL(cfg.Backend))
	p := &Proxy{cfg: cfg, root: root, prefix: strings.TrimSuffix(root.EscapedPath(), "/"), engine: newUpstream(cfg.TLS), metrics: newMetrics()}
	p.reverse = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.engine,
		FlushInterval:  -1, // at once
		BufferPool:     &buffers{},
		ModifyResponse: p.modify,
		ErrorHandler:   p.refuse,
		ErrorLog:       stdlog.New(io.Discard, "", 0), // what broke off is counted, and its client knows
	}
	return p, nil
}

// Close drops the connections that wait for a request.
func (p *Proxy) Close() { p.engine.transport.CloseIdleConnections() }

// Activity is what the requests that make the engine work do.
func (p *Proxy) Activity() canary.Activity { return p.tracker.Activity() }

// Answers counts the answers that came to their end and could be read, and those of them that are
// garbage by themselves: nothing, one piece over and over, or logprobs that are no numbers.
func (p *Proxy) Answers() (all, garbage uint64) { return p.answers.Load(), p.garbage.Load() }

// Times is how long the answers to those requests take.
func (p *Proxy) Times() traffic.Totals { return p.times.Totals() }

// Describe and Collect make it a prometheus.Collector.
func (p *Proxy) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range p.metrics.all() {
		c.Describe(ch)
	}
}

// Collect sends the metrics.
func (p *Proxy) Collect(ch chan<- prometheus.Metric) {
	for _, c := range p.metrics.all() {
		c.Collect(ch)
	}
}

type passingKey struct{}

// passing is a request on its way.
type passing struct {
	exchange *exchange // nil: it does not count
	upload   *upload   // nil: it has no body
	unwatch  func()    // ends the watch over upload
}

// ServeHTTP passes a request on. It panics with http.ErrAbortHandler where the answer breaks off,
// so that the client sees that, too.
//
// What it calls before and after has frames of its own: with theirs in this one, the stack of each
// stream would be 16 KiB in place of 8.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &passing{}
	defer q.over(w)
	p.reverse.ServeHTTP(&writer{ResponseWriter: w, passing: q}, p.begin(q, w, r))
}

// begin counts the request if it makes the engine work, and watches its body. The request returned
// is the one to pass on.
func (p *Proxy) begin(q *passing, w http.ResponseWriter, r *http.Request) *http.Request {
	if p.cfg.Generates(r.Method, r.URL.EscapedPath()) {
		e := &exchange{
			proxy: p, operation: operationOf(r.URL.EscapedPath()), client: r.Context(), conn: traffic.ClientOf(r.Context()), began: time.Now(),
			meeting: r.Header.Get(pairs.MeetingHeader) != "",
		}
		p.tracker.Begin(&e.request)
		if e.conn != nil {
			e.conn.Count(&e.request)
		}
		q.exchange = e
	}
	if r.Body == nil || r.Body == http.NoBody {
		return r.WithContext(context.WithValue(r.Context(), passingKey{}, q))
	}
	q.upload = &upload{ReadCloser: r.Body, onWait: q.waits, onEnd: q.uploaded}
	// An engine may answer before it has all of the body. Without this, net/http would take the
	// rest of it from the engine then.
	_ = http.NewResponseController(w).EnableFullDuplex() // it fails in tests without a connection
	watched, stop := q.upload.watch(r)
	q.unwatch = stop
	r = watched.WithContext(context.WithValue(watched.Context(), passingKey{}, q))
	r.Body = q.upload
	if q.exchange != nil {
		q.exchange.client, q.exchange.upload = r.Context(), q.upload
		if p.cfg.OnPair != nil && formOf(r.Header) == document {
			q.upload.scan = &pairs.Scanner{}
		}
	}
	return r
}

// over ends what begin has begun. Whatever happened, the request is under way no more than the
// client's is.
func (q *passing) over(w http.ResponseWriter) {
	if q.upload != nil {
		q.unwatch()
		q.upload.stop(w)
	}
	if q.exchange != nil {
		q.exchange.end(traffic.ClientError, nil)
	}
}

// waits takes in whether its body is waited for.
func (q *passing) waits(waiting bool) {
	if q.exchange != nil {
		q.exchange.waits(waiting)
	}
}

// uploaded takes in how large the request is, and who has read its prompt.
func (q *passing) uploaded(size int64) {
	if q.exchange == nil {
		return
	}
	var of pairs.Peer
	if q.upload.scan != nil {
		of, q.upload.scan = q.upload.scan.Peer(), nil
	}
	q.exchange.sized(uint64(size), of)
}

func passingOf(ctx context.Context) *passing {
	q, _ := ctx.Value(passingKey{}).(*passing)
	if q == nil {
		return &passing{}
	}
	return q
}

// forwarded are the headers that ReverseProxy drops, since clients may lie in them. So they may to
// the engine itself: who trusts them has a proxy of his own before this one.
var forwarded = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite leads a request to the engine, and leaves it as it came otherwise.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	in, out := r.In, r.Out
	out.URL.Scheme, out.URL.Host, out.URL.User = p.root.Scheme, p.root.Host, nil
	out.Host = "" // the engine's own, as nginx has it
	out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
	p.setPath(out.URL, in)
	out.Trailer = in.Trailer // the same map: it is filled when the body has been read

	for _, name := range forwarded {
		if values, ok := in.Header[name]; ok {
			out.Header[name] = values
		}
	}
	if host, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		before := in.Header["X-Forwarded-For"]
		out.Header.Set("X-Forwarded-For", strings.Join(append(before[:len(before):len(before)], host), ", "))
	}
	if out.Header.Get("X-Forwarded-Host") == "" {
		out.Header.Set("X-Forwarded-Host", in.Host)
	}
	if out.Header.Get("X-Forwarded-Proto") == "" {
		scheme := "http"
		if in.TLS != nil {
			scheme = "https"
		}
		out.Header.Set("X-Forwarded-Proto", scheme)
	}
	for _, name := range [...]string{"Authorization", "X-Api-Key", "Api-Key"} {
		if _, ok := in.Header[name]; ok {
			return
		}
	}
	if p.cfg.APIKey != "" {
		out.Header.Set("Authorization", "Bearer "+p.cfg.APIKey)
		return
	}
	out.URL.User = p.root.User
}

// setPath has the engine asked for the path byte for byte: with its escapes, and what ought to be
// escaped and is not.
func (p *Proxy) setPath(u *url.URL, in *http.Request) {
	raw, _, _ := strings.Cut(in.RequestURI, "?")
	if !strings.HasPrefix(raw, "/") { // absolute, or *
		raw = in.URL.EscapedPath()
		if p.prefix == "" {
			return
		}
	}
	raw = p.prefix + raw
	u.RawPath = raw
	var err error
	if u.Path, err = url.PathUnescape(raw); err != nil {
		u.Path = raw // unreachable: the server has parsed it
	}
	if u.EscapedPath() != raw && !strings.HasPrefix(raw, "//") {
		u.Opaque = raw
	}
}

// modify takes note of the engine's answer, and changes nothing that the client can see.
func (p *Proxy) modify(r *http.Response) error {
	if r.StatusCode == http.StatusSwitchingProtocols {
		// ReverseProxy refuses what nobody asked for, too, and leaves the connection open.
		if !strings.EqualFold(upgradeOf(r.Header), upgradeOf(r.Request.Header)) {
			return errUpgrade
		}
		return nil
	}
	e := passingOf(r.Request.Context()).exchange
	if e == nil {
		return nil
	}
	if e.answered(r) {
		r.Body = body{r.Body, e}
	}
	return nil
}

var errUpgrade = errors.New("it switched to a protocol that nobody asked for")

// upgradeOf is the protocol that a head switches to; "": none.
func upgradeOf(h http.Header) string {
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(option), "upgrade") {
				return h.Get("Upgrade")
			}
		}
	}
	return ""
}

// refuse answers where the engine did not.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	q := passingOf(r.Context())
	cause := context.Cause(r.Context())
	switch {
	case cause != nil:
		if q.exchange != nil {
			q.exchange.end(traffic.ClientError, nil)
		}
		if errors.Is(cause, context.Canceled) || errors.Is(cause, errClientGone) {
			panic(http.ErrAbortHandler)
		}
		// Whoever serves gave it up, such as a worker that shuts down. It may be sent elsewhere.
		w.Header().Set("Connection", "close")
		WriteError(w, http.StatusServiceUnavailable, "service_unavailable", text.Line(cause.Error(), dynmesh.MaxDetail))
		return
	case q.upload != nil && q.upload.failed.Load():
		if q.exchange != nil {
			q.exchange.end(traffic.ClientError, nil)
		}
		w.Header().Set("Connection", "close")
		WriteError(w, http.StatusBadRequest, "invalid_request_error", errBadBody.Error())
		return
	}
	reason, said := reasonOf(err)
	if q.exchange != nil {
		q.exchange.fail(reason, "%s", said)
	}
	p.cfg.Log.WithField("err", said).Debug("Engine did not answer")
	WriteError(w, http.StatusBadGateway, "bad_gateway", "the engine behind this worker did not answer: "+said)
}

// reasonOf says why there is no answer, without an address.
func reasonOf(err error) (dynmesh.Reason, string) {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return dynmesh.ReasonRefused, "connection refused"
		}
		return dynmesh.ReasonUnreachable, text.Line(fmt.Sprintf("cannot connect: %v", op.Err), dynmesh.MaxDetail)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return dynmesh.ReasonCut, "the connection broke off"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return dynmesh.ReasonUnreachable, "its certificate is not trusted"
	default:
		return dynmesh.ReasonMalformed, text.Line(text.Error(err, dynmesh.MaxDetail), dynmesh.MaxDetail)
	}
}

// WriteError answers with an error in OpenAI's form, as its clients expect it.
func WriteError(w http.ResponseWriter, status int, kind, message string) {
	doc, err := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": status}})
	if err != nil {
		doc = nil // unreachable: texts and numbers marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	w.WriteHeader(status)
	_, _ = w.Write(doc) // it fails where the client is gone
}

// writer keeps net/http from adding what the engine did not send.
type writer struct {
	http.ResponseWriter
	passing *passing
	wrote   bool
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the head. A nil value keeps net/http from guessing one.
func (w *writer) WriteHeader(status int) {
	if status >= 200 && !w.wrote {
		w.wrote = true
		if up := w.passing.upload; up != nil && !up.ended.Load() {
			w.Header().Set("Connection", "close") // what is left of the body stands before the next request
		}
		for _, name := range [...]string{"Content-Type", "Date"} {
			if _, ok := w.Header()[name]; !ok {
				w.Header()[name] = nil
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
	if _, ok := w.Header()["Content-Length"]; !ok && status >= 200 {
		// The head of a stream is sent as it came, before the first piece. From here it takes less
		// of the stack, too, than behind ReverseProxy's copying.
		_ = http.NewResponseController(w.ResponseWriter).Flush() // it fails where the client is gone
	}
}

// buffers are those that bodies are copied through.
type buffers struct{ pool sync.Pool }

// Get is for ReverseProxy.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return buf[:]
	}
	return make([]byte, copyBuffer)
}

// Put is for ReverseProxy.
func (b *buffers) Put(buf []byte) { b.pool.Put((*[copyBuffer]byte)(buf)) }
