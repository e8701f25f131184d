package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/text"
)

// ErrNotFound is the error of a question that a frontend answered by that it has nothing of this name.
var ErrNotFound = errors.New("not found")

// Client asks one frontend.
type Client struct {
	cfg  Config
	root *url.URL
	http *http.Client

	mu   sync.Mutex
	last held
}

// held is the newest answer, which need not be sent again while nothing has changed.
type held struct {
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
	return &Client{cfg: cfg, root: root, http: &http.Client{Transport: newTransport()}}, nil
}

// Close ends idle connections. It must not be called while a question is open.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String returns the frontend's root, without user and password.
func (c *Client) String() string { return text.URL(c.root.String()) }

// Mesh asks for everything. While nothing changes, frontends do not send it again, and it is the same one: callers share
// it and must not change it.
func (c *Client) Mesh(ctx context.Context) (*Mesh, error) { return c.mesh(ctx, meshPath) }

// Endpoint asks for one endpoint, dyn://namespace.component.endpoint, as Mesh does. An unknown one is ErrNotFound.
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
		last = held{}
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
	c.last = held{path, a.etag, m}
	c.mu.Unlock()
	return m, nil
}

// Ready asks whether the fleet is as the frontend itself expects it. A frontend that has no such route is ErrNotFound.
func (c *Client) Ready(ctx context.Context) (expect.Result, error) {
	var r expect.Result
	a, err := c.get(ctx, "/ready", "")
	if err == nil {
		err = c.decode(a, &r, "discovery", "ready", "expectations")
	}
	return r, err
}

// decode reads an answer. Its JSON must have the fields by which an answer to this question is known: anything may listen
// at a port.
func (c *Client) decode(a answer, to any, wanted ...string) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(a.body, &fields) != nil || fields == nil {
		return c.failure(a.path, fmt.Errorf("%s, and no JSON object: no frontend answers like this", a.says()))
	}
	switch a.status {
	case http.StatusOK, http.StatusServiceUnavailable: // which /ready is while it is not
	case http.StatusNotFound:
		var message string
		if json.Unmarshal(fields["message"], &message) == nil && message != "" {
			return c.failure(a.path, fmt.Errorf("%w: %s", ErrNotFound, message))
		}
		return c.failure(a.path, ErrNotFound)
	default:
		return c.failure(a.path, fmt.Errorf("%s%s", a.says(), status(fields)))
	}
	for _, name := range wanted {
		if value := fields[name]; value == nil || string(value) == "null" {
			return c.failure(a.path, fmt.Errorf("%s, without %q%s", a.says(), name, status(fields)))
		}
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return c.failure(a.path, fmt.Errorf("%s, which no frontend answers: %w", a.says(), err))
	}
	return nil
}

// status repeats what an answer says of its sender: a frontend that is about to end says so.
func status(fields map[string]json.RawMessage) string {
	var said string
	if json.Unmarshal(fields["status"], &said) != nil || said == "" {
		return ""
	}
	return ": status " + said
}
