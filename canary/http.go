package canary

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/arrival"
	"github.com/dynmesh/dynmesh/internal/sse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// HTTPConfig says what an [HTTP] probe sends where.
type HTTPConfig struct {
	URL    string          // http or https, with a host
	Body   json.RawMessage // posted; without one, it is a GET
	Header http.Header     // added to the request, such as Authorization
	TLS    *tls.Config     // for https; nil: the system's authorities

	// WantDone demands that a stream of server-sent events ends with [DONE] or has given a reason to
	// finish, and that each event is a JSON object: without it, an answer that ends early cannot be
	// told from a whole one.
	WantDone bool

	// Answer judges an answer that is one document, not a stream: what it lacks to be an answer.
	// Nil: it must not be empty, and where it has choices, one of them must say something.
	Answer func(document []byte) error

	// ErrorIn finds an error in a form of the engine's own in a chunk; "" where there is none. Nil:
	// only the forms that most engines share count (see [ErrorIn]).
	ErrorIn func(chunk []byte) string

	// Want is a text that must be in the answer: as it came, or in the words that its chunks make up.
	// A GET is judged by it, too. Empty: none.
	Want string
}

// HTTP makes a probe that sends a request and judges the whole answer: server-sent events where the
// answer's type says so, one document where it is application/json, else JSON documents, one a
// line.
//
// Each canary has a connection of its own, which it closes: none stays idle, and a new one is part
// of what is asked. Redirects and the environment's proxies are not followed, answers are not
// unpacked, and no more than about 1 MiB is in memory, whatever the engine sends. A GET passes with
// any answer of status 2xx that has Want in it. What an engine refuses for want of room
// (429, or 503 with Retry-After) is [dynmesh.ReasonBusy].
//
// The times of a Result are those at which the answer arrived, as far as the kernel tells. An
// engine that quotes the request's Authorization, or the URL's password, is not repeated.
func HTTP(cfg HTTPConfig) (Probe, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("HTTP probe: URL is %q: want http://HOST:PORT/PATH", text.URL(cfg.URL))
	}
	cfg.Body, cfg.Header = bytesOf(cfg.Body), cfg.Header.Clone()
	p := &httpProbe{cfg: cfg, secrets: secretsOf(u, cfg.Header)}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			TLSClientConfig:        cfg.TLS.Clone(),
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         4 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		recorderOf(ctx).redact(p.secrets)
		f := p.ask(ctx)
		if f == nil {
			return nil
		}
		if detail := p.secrets.Redact(f.Detail); detail != f.Detail {
			return &dynmesh.Failure{Reason: f.Reason, Detail: detail} // its cause says the same
		}
		return f
	}, nil
}

type httpProbe struct {
	cfg     HTTPConfig
	client  *http.Client
	secrets text.Secrets
}

// ask sends the request once. Its context ends with the canary, whatever became of the answer: it
// takes the connection along.
func (p *httpProbe) ask(ctx context.Context) *dynmesh.Failure {
	requestCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	method := http.MethodGet
	if p.cfg.Body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(requestCtx, method, p.cfg.URL, bytes.NewReader(p.cfg.Body))
	if err != nil {
		return failureOf(dynmesh.ReasonError, text.WithoutURL(err))
	}
	for key, values := range p.cfg.Header {
		req.Header[key] = values
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "text/event-stream, application/x-ndjson, application/json")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return transportFailure(ctx, text.WithoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		// What the engine says of it helps, if it comes.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4*dynmesh.MaxDetail))
		message := cmp.Or(ErrorText(body), http.StatusText(resp.StatusCode))
		f := failure(dynmesh.ReasonStatus, "status %d: %s%s", resp.StatusCode, message, asked(resp))
		if isBusy(resp) {
			f.Reason = dynmesh.ReasonBusy
		}
		f.Err = &StatusError{Status: resp.StatusCode, Message: message}
		return f
	}
	if method == http.MethodGet {
		return p.readPlain(ctx, resp)
	}
	return p.readAnswer(ctx, resp)
}

// StatusError is the cause of a failure by an error status.
type StatusError struct {
	Status  int
	Message string // what the engine says of it, or the status's own words
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Message) }

// asked says what was asked, where the answer says that it should have been something else.
func asked(resp *http.Response) string {
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return ""
	}
	said := " (" + resp.Request.Method + " " + text.URL(resp.Request.URL.String())
	if to := resp.Header.Get("Location"); to != "" {
		said += ", which is sent on to " + text.URL(to)
	}
	return said + ")"
}

// unreadable says why a body cannot be understood, whatever is in it.
func unreadable(resp *http.Response) *dynmesh.Failure {
	coding := resp.Header.Get("Content-Encoding")
	if coding == "" || strings.EqualFold(coding, "identity") {
		return nil
	}
	return failure(dynmesh.ReasonMalformed, "the answer is encoded: %s, which nobody has asked for (%s %s)",
		strconv.Quote(coding), resp.Request.Method, text.URL(resp.Request.URL.String()))
}

// isBusy says whether an engine is well, and has no room.
func isBusy(resp *http.Response) bool {
	return resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
}

// dial connects, and has the canary's recorder note when the answer arrives.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return arrival.NewConn(c, recorderOf(ctx).arrived), nil
}

// readPlain reads the answer to a GET, which may be anything.
func (p *httpProbe) readPlain(ctx context.Context, resp *http.Response) *dynmesh.Failure {
	if p.cfg.Want == "" {
		return nil
	}
	if f := unreadable(resp); f != nil {
		return f
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return transportFailure(ctx, err)
	}
	recorderOf(ctx).note(body)
	return unexpected(p.cfg.Want, body)
}

// unexpected is the failure of an answer that does not have want in it.
func unexpected(want string, answers ...[]byte) *dynmesh.Failure {
	for _, a := range answers {
		if bytes.Contains(a, []byte(want)) {
			return nil
		}
	}
	return failure(dynmesh.ReasonUnexpected, "the answer does not have %q in it", want)
}

// secretsOf are those that a request brings along.
func secretsOf(u *url.URL, h http.Header) text.Secrets {
	password, _ := u.User.Password()
	secrets := text.Secrets{password}
	for _, authorization := range h.Values("Authorization") {
		_, credentials, ok := strings.Cut(authorization, " ") // after the scheme, such as Bearer
		if !ok {
			credentials = authorization
		}
		secrets = append(secrets, credentials)
	}
	return secrets
}

// readAnswer reads and judges the body of an answer.
func (p *httpProbe) readAnswer(ctx context.Context, resp *http.Response) *dynmesh.Failure {
	if f := unreadable(resp); f != nil {
		return f
	}
	j := judge{ctx: ctx, wantDone: p.cfg.WantDone, errorIn: p.cfg.ErrorIn, want: p.cfg.Want}
	came := resp.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(came)
	if err != nil {
		kind = ""
	}
	var next func() (string, []byte, error)
	stray := func() string { return "" }
	switch kind {
	case "text/event-stream":
		events := sse.NewEvents(resp.Body, maxAnswer, maxAnswer)
		next, stray = events.Next, events.Stray
	case "application/json":
		next, j.wantDone, j.answer = (&document{r: resp.Body}).next, false, p.cfg.Answer
	case "text/html":
		// A proxy's, or of another server.
		return failure(dynmesh.ReasonMalformed, "the answer is %s (%s %s)", strconv.Quote(kind), resp.Request.Method, text.URL(resp.Request.URL.String()))
	default:
		next, j.wantDone = jsonLines{sse.NewLines(resp.Body, maxAnswer, maxAnswer)}.next, false
	}
	for !j.done {
		event, data, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, sse.ErrTooLong) {
			err = errOversized
		}
		if err != nil {
			return transportFailure(ctx, err)
		}
		if f := j.chunk(event, data); f != nil {
			if f.Reason == dynmesh.ReasonMalformed {
				f.Detail = text.Line(f.Detail+", in an answer of type "+strconv.Quote(came), dynmesh.MaxDetail)
			}
			return f
		}
	}
	if line := stray(); line != "" {
		return failure(dynmesh.ReasonMalformed, "not an event stream: %s", line)
	}
	return j.end()
}

// jsonLines reads JSON documents, one a line. Empty lines mean nothing.
type jsonLines struct{ lines *sse.Lines }

// next returns one document, good until the next call, or an error; io.EOF is the end.
func (j jsonLines) next() (event string, data []byte, err error) {
	for {
		line, err := j.lines.Next()
		if len(line) > 0 {
			return "", line, nil // what follows the last line says io.EOF again
		}
		if err != nil {
			return "", nil, err
		}
	}
}

// document reads one JSON document, of however many lines.
type document struct {
	r    io.Reader
	read bool
}

func (d *document) next() (event string, data []byte, err error) {
	if d.read {
		return "", nil, io.EOF
	}
	d.read = true
	data, err = io.ReadAll(io.LimitReader(d.r, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = errOversized
	}
	return "", data, err
}
