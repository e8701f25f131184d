package client

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/plain"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// ErrNotFound is the error of a question that a frontend answered by that it has nothing of this
// name.
var ErrNotFound = errors.New("not found")

// Client asks one frontend.
type Client struct {
	cfg  Config
	root *url.URL
	http *http.Client

	mu   sync.Mutex
	last cachedAnswer
}

// cachedAnswer is the newest answer, which need not be sent again while nothing has changed.
type cachedAnswer struct {
	path, etag string
	mesh       *Mesh
}

// New checks cfg; its error names the field. Close releases what a Client holds.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("client config: %w", err)
	}
	root, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("client config: %w", &dynmesh.ConfigError{Config: "client", Field: "URL", Err: err})
	}
	transport := newTransport()
	if transport.TLSClientConfig, err = cfg.Access.TLS(); err == nil {
		_, err = cfg.Access.Token()
	}
	if err != nil {
		return nil, fmt.Errorf("client config: %w", err)
	}
	return &Client{cfg: cfg, root: root, http: &http.Client{Transport: transport}}, nil
}

// Close ends idle connections. It must not be called while a question is open.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String returns the frontend's root, without user and password.
func (c *Client) String() string { return text.URL(c.root.String()) }

// Mesh asks for everything. While nothing changes, frontends do not send it again, and it is the
// same one: callers share it and must not change it.
func (c *Client) Mesh(ctx context.Context) (*Mesh, error) { return c.mesh(ctx, meshPath) }

// Endpoint asks for one endpoint, dyn://namespace.component.endpoint, as Mesh does. An unknown one
// is ErrNotFound.
func (c *Client) Endpoint(ctx context.Context, name string) (*Mesh, error) {
	return c.mesh(ctx, endpointPath(name))
}

// Instance asks for one instance of an endpoint, as Mesh does. An unknown one is ErrNotFound.
func (c *Client) Instance(ctx context.Context, endpoint string, id dynmesh.InstanceID) (*Mesh, error) {
	return c.mesh(ctx, endpointPath(endpoint)+"/"+id.String())
}

const meshPath = "/mesh"

func endpointPath(name string) string {
	return meshPath + "/" + url.PathEscape(strings.TrimPrefix(name, "dyn://"))
}

func (c *Client) mesh(ctx context.Context, path string) (*Mesh, error) {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	if last.path != path {
		last = cachedAnswer{}
	}
	a, err := c.get(ctx, path, last.etag)
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusNotModified && last.mesh != nil {
		same := *last.mesh
		same.Now = a.at
		return &same, nil
	}
	m := new(Mesh)
	if err := c.decode(a, m, "version", "discovery", "endpoints"); err != nil {
		return nil, err
	}
	m.Now, m.JSON = a.at, a.body
	c.mu.Lock()
	c.last = cachedAnswer{path, a.etag, m}
	c.mu.Unlock()
	return m, nil
}

// Ready asks whether the fleet is as the frontend itself expects it. A frontend that has no such
// route is ErrNotFound.
func (c *Client) Ready(ctx context.Context) (expect.Result, error) {
	var r expect.Result
	a, err := c.get(ctx, "/ready", "")
	if err == nil {
		err = c.decode(a, &r, "discovery", "ready", "expectations")
	}
	return r, err
}

// decode reads an answer. Its JSON must have the fields by which an answer to this question is
// known: anything may listen at a port.
func (c *Client) decode(a answer, to any, wanted ...string) error {
	var fields map[string]json.RawMessage
	if a.status == http.StatusBadRequest && access.IsPlainRefusal(string(a.body)) {
		return c.failure(a.path, errors.New("it speaks TLS: want https:// in its URL"))
	}
	if json.Unmarshal(a.body, &fields) != nil || fields == nil {
		return c.failure(a.path, fmt.Errorf("%s, and no JSON object: no frontend answers like this", a.statusText()))
	}
	switch a.status {
	case http.StatusOK, http.StatusServiceUnavailable: // which /ready is while it is not
	case http.StatusNotFound:
		var message string
		if json.Unmarshal(fields["message"], &message) == nil && message != "" {
			return c.failure(a.path, fmt.Errorf("%w: %s", ErrNotFound, message))
		}
		return c.failure(a.path, ErrNotFound)
	case http.StatusUnauthorized:
		if c.cfg.Access.TokenFile != "" {
			return c.failure(a.path, fmt.Errorf("%s: it does not know the first token of %s (DYN_API_TOKEN_FILE)", a.statusText(), c.cfg.Access.TokenFile))
		}
		return c.failure(a.path, fmt.Errorf("%s: it wants a token, of which DYN_API_TOKEN_FILE names the file", a.statusText()))
	default:
		return c.failure(a.path, fmt.Errorf("%s%s", a.statusText(), status(fields)))
	}
	for _, name := range wanted {
		if value := fields[name]; value == nil || string(value) == "null" {
			return c.failure(a.path, fmt.Errorf("%s, without %q%s", a.statusText(), name, status(fields)))
		}
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return c.failure(a.path, fmt.Errorf("%s, which no frontend answers: %w", a.statusText(), parse.JSONError(err)))
	}
	return nil
}

// status repeats what an answer says of its sender: a frontend that is about to end says so.
func status(fields map[string]json.RawMessage) string {
	var word string
	if json.Unmarshal(fields["status"], &word) != nil || word == "" {
		return ""
	}
	return ": status " + word
}

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

func (a answer) statusText() string {
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
	token, err := c.cfg.Access.Token()
	if err != nil {
		return a, c.failure(path, err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Accept", "application/json")
	if etag != "" {
		request.Header.Set("If-None-Match", etag)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return a, c.failure(path, rootCause(ctx, err))
	}
	defer func() { _ = response.Body.Close() }()
	a.status, a.etag = response.StatusCode, response.Header.Get("ETag")
	a.at = serverTime(response.Header.Get("Date"), time.Now())
	a.body, err = io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxSize+1))
	switch {
	case err != nil:
		return a, c.failure(path, rootCause(ctx, err))
	case int64(len(a.body)) > c.cfg.MaxSize:
		return a, c.failure(path, fmt.Errorf("more than %d bytes, which no frontend answers", c.cfg.MaxSize))
	}
	return a, nil
}

// dateLag is how far a Date header is behind at most: it is in whole seconds, and fasthttp writes a
// new one once a second.
const dateLag = 2 * time.Second

// serverTime returns when the answerer wrote a Date header, by its own clock, as near to ours as
// the header allows: where the clocks agree, ours is the more exact one, and what happened just now
// is not in the future.
func serverTime(date string, ours time.Time) time.Time {
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

// askError has a text that is fit for a terminal, over a cause whose text may repeat what somebody
// sent.
type askError struct {
	text  string
	cause error
}

func (e *askError) Error() string { return e.text }
func (e *askError) Unwrap() error { return e.cause }

// rootCause returns the part of an error that says something: without the URL, which is said
// already, and without the ports of our side, which are others each time and would make one cause
// look like many.
func rootCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return errors.New("its certificate is not signed by an authority that is known here: DYN_FRONTEND_CA names a file of those to believe")
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
