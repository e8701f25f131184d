package sidecar

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/internal/text"
)

const (
	// dialTimeout is for engines on other hosts: one on this host answers or refuses at once.
	dialTimeout = 5 * time.Second

	// idleTimeout is how long a connection to the engine is kept for the next question. uvicorn,
	// which serves vLLM and SGLang, closes its own after 5 s.
	idleTimeout = 2 * time.Second

	maxIdle = 2 // connections: what is asked here is asked one after the other
)

// client asks one engine what it is and how it does, with what the engine wants to be asked with.
// Requests do not pass here.
type client struct {
	http *http.Client
	root *url.URL
	tls  *tls.Config // nil: the system's authorities
	key  string      // "" where the engine wants none

	secrets text.Secrets // that must not be repeated
}

// newClient makes the client of the engine at root. It has no time limits beyond the dial's: each
// question brings its own.
func newClient(root *url.URL, key, caFile string) (client, error) {
	password, _ := root.User.Password()
	c := client{root: root, key: key, secrets: text.Secrets{key, password}}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return client{}, &dynmesh.ConfigError{Config: "sidecar", Field: "CAFile", Err: err}
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) {
			return client{}, dynmesh.NewConfigError("sidecar", "CAFile", caFile, "a file with a certificate in PEM")
		}
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			// No Proxy: the environment's is for the outside, and the engine is next door.
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			TLSClientConfig:        c.tls,
			DisableCompression:     true,
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    maxIdle,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// url is that of one of the engine's routes, whose path is escaped already.
func (c client) url(path string) string { return kind.URL(c.root, path) }

// header is what each request has.
func (c client) header() http.Header {
	h := http.Header{}
	if c.key != "" {
		h.Set("Authorization", "Bearer "+c.key)
	}
	return h
}

// get asks for target. Errors leave the URL out: everybody knows it, and it takes the room of what
// matters.
func (c client) get(ctx context.Context, target, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, text.WithoutURL(err) // unreachable: the URL has been parsed
	}
	req.Header = c.header()
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, text.WithoutURL(err)
	}
	return resp, nil
}

// withoutKeyFor is the client without the key, where target is not the engine's: nobody else has
// any business with it.
func (c client) withoutKeyFor(target string) client {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != c.root.Scheme || u.Hostname() != c.root.Hostname() {
		c.key = ""
	}
	return c
}

// redact takes the key out of an error that an engine wrote, who may have quoted the request.
func (c client) redact(err error) error {
	if err == nil {
		return nil
	}
	redacted := c.secrets.Redact(err.Error())
	if redacted == err.Error() {
		return err
	}
	if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
		return &dynmesh.Failure{Reason: f.Reason, Detail: c.secrets.Redact(f.Detail)}
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		return &statusError{c.secrets.Redact(e.text)}
	}
	return errors.New(redacted)
}

// isConnectionRefused says that nobody listens there, as opposed to somebody who does not answer
// well.
func isConnectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// readPrefix reads the first n bytes of a body, as far as they come soon. cancel ends the request.
func readPrefix(body io.Reader, cancel func(), n int64, within time.Duration) []byte {
	timer := time.AfterFunc(within, cancel)
	defer timer.Stop()
	text, _ := io.ReadAll(io.LimitReader(body, n))
	return text
}

const (
	maxText    = 1 << 10 // bytes that are kept of an engine's error
	maxExcerpt = 80      // bytes of an answer, in an error about it
)

// statusError is an answer with a status other than 2xx.
type statusError struct{ text string } // one line of at most maxText bytes

func (e *statusError) Error() string { return "engine: " + e.text }

func newStatusError(status int, body []byte) *statusError {
	message := cmp.Or(canary.ErrorText(body), http.StatusText(status))
	return &statusError{text.Line(fmt.Sprintf("status %d: %s", status, message), maxText)}
}

// probeFailure gives the reasons of a canary where the question was another.
func probeFailure(ctx context.Context, err error) error {
	bad, isMalformed := errors.AsType[*malformedError](err)
	refusal, isStatus := errors.AsType[*statusError](err)
	switch {
	case ctx.Err() != nil:
		return err // canary.Check sees why
	case isConnectionRefused(err):
		return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused", Err: err}
	case isMalformed:
		return &dynmesh.Failure{Reason: dynmesh.ReasonMalformed, Detail: text.Line(bad.text, dynmesh.MaxDetail), Err: err}
	case isStatus:
		return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: text.Line(refusal.text, dynmesh.MaxDetail), Err: err}
	default:
		return err // canary.Check knows them
	}
}

// excerpt is the beginning of an answer.
func excerpt(body []byte) string {
	return text.Line(string(body[:min(len(body), 4*maxExcerpt)]), maxExcerpt)
}
