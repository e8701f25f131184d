package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/frontend/plain"
)

// maxError is the length of the longest error text, in characters.
const maxError = 300

// newTransport is net/http's own with tighter bounds.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// answer is what came back, whatever it is.
type answer struct {
	path   string
	status int
	etag   string
	at     time.Time // by the answerer's clock, or else by ours
	body   []byte
}

func (a answer) says() string {
	return fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
}

// get asks once. Its error says in one line why there is no answer.
func (c *Client) get(ctx context.Context, path, etag string) (answer, error) {
	a := answer{path: path}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("no whole answer within %v", c.cfg.Timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.root.String()+path, http.NoBody)
	if err != nil {
		return a, c.failure(path, err)
	}
	request.Header.Set("Accept", "application/json")
	if etag != "" {
		request.Header.Set("If-None-Match", etag)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return a, c.failure(path, because(ctx, err))
	}
	defer func() { _ = response.Body.Close() }()
	a.status, a.etag = response.StatusCode, response.Header.Get("ETag")
	a.at = theirTime(response.Header.Get("Date"), time.Now())
	a.body, err = io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxSize+1))
	switch {
	case err != nil:
		return a, c.failure(path, because(ctx, err))
	case int64(len(a.body)) > c.cfg.MaxSize:
		return a, c.failure(path, fmt.Errorf("more than %d bytes, which no frontend answers", c.cfg.MaxSize))
	}
	return a, nil
}

// dateLag is how far a Date header is behind at most: it is in whole seconds, and fasthttp writes a new one once a second.
const dateLag = 2 * time.Second

// theirTime returns when the answerer wrote a Date header, by its own clock, as near to ours as the header allows: where the
// clocks agree, ours is the more exact one, and what happened just now is not in the future.
func theirTime(date string, ours time.Time) time.Time {
	at, err := http.ParseTime(date)
	switch {
	case err != nil, !ours.Before(at) && ours.Before(at.Add(dateLag)):
		return ours
	case ours.Before(at):
		return at
	}
	return at.Add(dateLag)
}

// failure names the question.
func (c *Client) failure(path string, err error) error {
	return &askError{"ask " + plain.Text(c.String()+path, maxError) + ": " + plain.Text(err.Error(), maxError), err}
}

// askError has a text that is fit for a terminal, over a cause whose text may repeat what somebody sent.
type askError struct {
	text  string
	cause error
}

func (e *askError) Error() string { return e.text }
func (e *askError) Unwrap() error { return e.cause }

// because returns the part of an error that says something: without the URL, which is said already, and without the
// ports of our side, which are others each time and would make one cause look like many.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("no address for %s: %s", e.Name, e.Err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection ended within the answer")
	}
	if text, ours := strings.CutPrefix(err.Error(), "net/http: "); ours {
		return errors.New(text)
	}
	return err
}
