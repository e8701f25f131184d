package worker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/proxy"
)

// Limits on clients: what has no bound is held for ever by somebody.
const (
	maxHeader       = 16 << 10
	maxHeaderBehind = 1 << 20     // where an engine answers
	readTimeout     = time.Minute // for a whole request
	idleTimeout     = 2 * time.Minute
)

// maxLogged is how much of a text that is not ours one log line has, in bytes.
const maxLogged = 1000

// cancelTimeout is what requests get to end once they are cancelled, and once more when their
// connections are cut.
const cancelTimeout = time.Second

// A route is what one path answers.
type route struct {
	kind    access.Kind
	methods []string // OPTIONS among them is answered by what they are
	// serve answers, or returns a *refusal before it has written anything.
	serve func(http.ResponseWriter, *http.Request) error
}

// server is one of the worker's two HTTP servers.
type server struct {
	http   http.Server
	ln     *listener
	access *access.Access
	hosts  access.Hosts                    // that requests may be for
	sites  http.CrossOriginProtection      // a browser on another site must not have it work
	routes func(path string) (route, bool) // set before serve; the path is as the client wrote it

	// backend answers in place of routes, in its own way; nil: there is none. ctx ends when the
	// worker gives up on requests.
	backend http.Handler
	ctx     context.Context
}

func newServer(ln *listener, who *access.Access) *server {
	s := &server{ln: ln, access: who, hosts: who.Hosts(ln.Addr())}
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	s.http = http.Server{
		Handler:                      s,
		Protocols:                    http1, // connections are counted as requests
		DisableGeneralOptionsHandler: true,
		ReadTimeout:                  readTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               2 * maxHeader, // beyond, net/http refuses in words of its own
		ConnContext:                  withConn,
		ConnState:                    ln.connState,
		ErrorLog:                     stdlog.New(logWriter{ln.log}, "", 0),
	}
	return s
}

// front has the backend answer all requests, whose context ends with ctx at the latest. Bodies may
// take as long as they like, and heads may be large: that is for the engine to judge.
func (s *server) front(ctx context.Context, backend http.Handler) {
	s.ctx, s.backend = ctx, backend
	s.http.ReadTimeout, s.http.ReadHeaderTimeout = 0, readTimeout
	s.http.MaxHeaderBytes = maxHeaderBehind
	s.ln.unread = maxUnreadBehind
}

// serve returns when the listener is stopped, or with the error that it died of.
func (s *server) serve() error {
	err := s.http.Serve(framedListener{s.access.Listener(s.ln)})
	if s.ln.draining() {
		return nil
	}
	return cmp.Or(err, net.ErrClosed)
}

// stop refuses new requests and waits for those under way:
//
//	grace              they run on
//	cancelTimeout      their contexts are cancelled
//	cancelTimeout      their connections are cut: for clients that do not read
//
// A handler that ignores all of that is left behind, and logged.
func (s *server) stop(grace time.Duration, cancel func()) {
	s.ln.stop()
	s.http.SetKeepAlivesEnabled(false) // answers that have yet to begin say that it is the last
	left := s.ln.wait(grace)
	if left == 0 {
		return
	}
	log := s.ln.log.WithField("addr", s.ln.Addr().String())
	log.WithField("requests", left).Warn("Requests did not finish in time, cancelling them")
	cancel()
	if s.ln.wait(cancelTimeout) == 0 {
		return
	}
	s.ln.cut()
	if left = s.ln.wait(cancelTimeout); left > 0 {
		log.WithField("requests", left).Error("Requests ignore that they are cancelled, leaving them behind")
	}
}

// ServeHTTP answers one request, with {"error":"…"} where it is refused.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := connOf(r.Context()); c != nil {
		c.asked.Store(true)
	}
	if refused := s.direct(w, r); refused != nil {
		if s.backend != nil {
			w.Header().Set("Connection", "close")
			proxy.WriteError(w, refused.status, "invalid_request_error", refused.text)
			return
		}
		refuse(w, refused)
		return
	}
	if s.backend != nil {
		s.pass(w, r)
		return
	}
	if err := s.answer(w, r); err != nil {
		refuse(w, err)
	}
}

// direct refuses what may be meant for somebody else: a request for another host, and one that ends
// in two places. Of a request in chunks of which nobody knows, the chunks tell, and it is the last
// of its connection.
func (s *server) direct(w http.ResponseWriter, r *http.Request) *refusal {
	if c := connOf(r.Context()); c != nil && c.framed != nil {
		if secure, ok := c.framed.Conn.(*tls.Conn); ok {
			state := secure.ConnectionState()
			r.TLS = &state
		}
		switch c.framed.framing(r) {
		case framedTwice:
			return &refusal{status: http.StatusBadRequest, text: access.Ambiguous, closes: true}
		case framedSomehow:
			if len(r.TransferEncoding) > 0 {
				w.Header().Set("Connection", "close")
			}
		}
	}
	if !s.hosts.Admits(r.Host) {
		return &refusal{status: http.StatusForbidden, text: s.hosts.Misdirected(r.Host), closes: true}
	}
	return nil
}

// errOtherSite is of a request that a browser sends for a page of another site.
const errOtherSite = "a page of another site cannot ask this"

// pass has the backend answer. Errors of the worker's own are in OpenAI's form, as the backend's
// are.
func (s *server) pass(w http.ResponseWriter, r *http.Request) {
	if s.ln.draining() {
		w.Header().Set("Connection", "close")
		proxy.WriteError(w, http.StatusServiceUnavailable, "service_unavailable", errStopping.Error())
		return
	}
	if !connOf(r.Context()).work() {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(errEnded)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	s.backend.ServeHTTP(w, r.WithContext(ctx))
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) error {
	if s.ln.draining() { // it came on a connection that was open before
		return &refusal{status: http.StatusServiceUnavailable, text: errStopping.Error(), closes: true}
	}
	if headerSize(r) > maxHeader {
		return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, closes: true}
	}
	path := cmp.Or(r.URL.RawPath, r.URL.EscapedPath()) // RawPath is empty where both are the same
	if s.sites.Check(r) != nil {
		return &refusal{status: http.StatusForbidden, text: errOtherSite, closes: r.ContentLength != 0}
	}
	found, ok := s.routes(path)
	if !ok {
		return &refusal{status: http.StatusNotFound, text: "Cannot " + r.Method + " " + html.EscapeString(path)}
	}
	if !s.access.Admits(found.kind, r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", access.Challenge)
		return &refusal{status: http.StatusUnauthorized, text: access.Denied, closes: r.ContentLength != 0}
	}
	if !slices.Contains(found.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(found.methods, ", "))
		return &refusal{status: http.StatusMethodNotAllowed}
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", strings.Join(found.methods, ", "))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return found.serve(w, r)
}

func headerSize(r *http.Request) int {
	size := len(r.Method) + len(r.RequestURI) + len(" HTTP/1.1\r\n\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(": \r\n") + len(v)
		}
	}
	return size
}

// A refusal is the error of a request that is answered with a status and a text.
type refusal struct {
	status int
	text   string // default: that of the status
	closes bool   // the connection is closed after it, and what is left of the body is not read
}

func (e *refusal) Error() string { return cmp.Or(e.text, http.StatusText(e.status)) }

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*refusal](err); ok {
		status = e.status
		if e.closes {
			w.Header().Set("Connection", "close")
		}
	}
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil { // unreachable: documents are strings, numbers and maps of them
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // it fails where the client is gone; net/http closes the connection then
}

// firstBody is how much of a body has room at once, whatever length is announced: the rest is
// allocated as it comes, where there is room.
const firstBody = 4 << 10

// readBody reads a body of at most most bytes. It unpacks nothing: what is packed has no bound.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, text: fmt.Sprintf("content encoding %q: want none", coding)}
	}
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, closes: true}
	if r.ContentLength > most {
		return nil, tooLarge
	}
	from, client := http.MaxBytesReader(w, r.Body, most), connOf(r.Context())
	body := make([]byte, 0, firstBody)
	for {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		_, large := errors.AsType[*http.MaxBytesError](err)
		switch {
		case large:
			return nil, tooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &refusal{status: http.StatusRequestTimeout, closes: true}
		case err != nil:
			return nil, &refusal{status: http.StatusBadRequest, text: "the request's body cannot be read: " + err.Error(), closes: true}
		}
		if len(body) < cap(body) {
			continue
		}
		old := int64(cap(body))
		size := 2 * old
		if announced := r.ContentLength + 1; r.ContentLength >= 0 && announced < size { // and its end
			size = max(announced, old+1)
		}
		if !client.grow(size) {
			w.Header().Set("Retry-After", "1")
			return nil, &refusal{status: http.StatusServiceUnavailable, text: "there is no room for the request's body now", closes: true}
		}
		grown := make([]byte, len(body), size)
		copy(grown, body)
		body = grown
		if old > firstBody {
			client.shrink(old)
		}
	}
}

// logWriter takes what net/http has to say, which is little: panics of what is not a Handler, and
// clients that do not speak TLS, or hold a connection and say nothing, as members do.
type logWriter struct{ log *logrus.Entry }

func (l logWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("TLS handshake error")) {
		l.log.Debug(text.Line(string(p), maxLogged))
		return len(p), nil
	}
	l.log.Error(text.Line(string(p), maxLogged))
	return len(p), nil
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
