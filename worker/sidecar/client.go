package sidecar

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

const (
	// dialTimeout is for engines on other hosts: one on this host answers or refuses at once.
	dialTimeout = 5 * time.Second

	// idleTimeout is how long a connection to the engine is kept for the next request. uvicorn, which vLLM and SGLang are
	// served by, closes its own after 5 s, and a request that is sent just then is lost: POST is not sent twice.
	idleTimeout = 2 * time.Second

	maxIdle = 64 // connections: enough to have most requests of a busy engine find one
)

// newClient makes the client of one engine. It has no time limits beyond the dial's: an engine may well think for minutes.
func newClient(trust *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// No Proxy: the environment's is for the outside, and the engine is next door.
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			TLSClientConfig:        trust,
			DisableCompression:     true,
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    maxIdle,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bare takes the URL out of an error of net/http's client: everybody knows it, and it takes the room of what matters.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// isGone says that nobody listens there, as opposed to somebody who does not answer well.
func isGone(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// readSome reads the beginning of an error answer, as far as it comes soon.
func readSome(body io.Reader, cut func(), n int64, within time.Duration) []byte {
	timer := time.AfterFunc(within, cut)
	defer timer.Stop()
	text, _ := io.ReadAll(io.LimitReader(body, n))
	return text
}
