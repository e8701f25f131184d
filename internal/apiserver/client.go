package apiserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// A connection that answers no ping is closed after pingAfter and pingTimeout, and each request on
// it fails.
const (
	dialTimeout = 3 * time.Second
	pingAfter   = 5 * time.Second // of silence
	pingTimeout = 4 * time.Second
)

// Client is how the API server is reached: where client-go says, and as whom. Each connection of
// its own has what is in the files of certificates then. Its methods may be called from any
// goroutine.
type Client struct {
	config      *rest.Config
	server      *url.URL
	made        time.Time
	lastContact atomic.Int64 // when something came from the server, in ns since made
}

// ErrNoCluster says that there is no Kubernetes that could be meant.
var ErrNoCluster = errors.New("want a pod with a service account, KUBECONFIG, or ~/.kube/config")

// New finds the API server by a kubeconfig, else as a pod does, and the namespace that is meant. It
// does not connect. Its error is a *dynmesh.ConfigError.
func New(kubeconfig, namespace string) (*Client, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // KUBECONFIG, then ~/.kube/config
	if files := filepath.SplitList(kubeconfig); len(files) > 1 {
		rules.Precedence = files
	} else {
		rules.ExplicitPath = kubeconfig
	}
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	config, err := loaded.ClientConfig()
	if clientcmd.IsEmptyConfig(err) || err != nil && errors.Is(err, rest.ErrNotInCluster) {
		return nil, "", &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: ErrNoCluster}
	}
	if err != nil {
		// What is no kubeconfig at all is told by client-go with types of Go's.
		if said, _, isNone := strings.Cut(text.Error(err, 200), ": couldn't get version/kind"); isNone {
			err = errors.New(said + ": want a kubeconfig")
		}
		return nil, "", &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	if namespace == "" {
		if namespace, _, err = loaded.Namespace(); err != nil {
			return nil, "", &dynmesh.ConfigError{Config: "kubernetes", Field: "Namespace", Err: errors.New(text.Error(err, 200))}
		}
	}
	c, err := newClient(config)
	return c, namespace, err
}

func newClient(config *rest.Config) (*Client, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	c := &Client{config: config, server: server, made: time.Now()}
	if _, _, err := c.Connect(); err != nil {
		return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	return c, nil
}

// LastContact returns when something came from the server last, by a clock that nobody sets; when
// the client was made, if nothing has.
func (c *Client) LastContact() time.Time { return c.made.Add(time.Duration(c.lastContact.Load())) }

// Connect returns what makes requests over connections of its own, and closes them.
func (c *Client) Connect() (http.RoundTripper, func(), error) {
	cfg, err := c.config.TransportConfig()
	if err != nil {
		return nil, nil, err
	}
	tlsConfig, err := transport.TLSConfigFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	dial := (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingAfter, Interval: pingTimeout, Count: 2}}).DialContext
	if cfg.DialHolder != nil {
		dial = cfg.DialHolder.Dial
	}
	t := &http.Transport{
		TLSClientConfig: tlsConfig, Proxy: c.config.Proxy, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		DisableCompression: true, // which takes the API server more time than its network
		HTTP2:              &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &noted{conn, c}, nil
		},
	}
	if t.Proxy == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	wrapped, err := transport.HTTPWrappersForConfig(cfg, t)
	return wrapped, t.CloseIdleConnections, err
}

// noted is a connection that notes when something came, be it the answer to a ping.
type noted struct {
	net.Conn
	client *Client
}

func (n *noted) Read(b []byte) (int, error) {
	k, err := n.Conn.Read(b)
	if k > 0 {
		n.client.lastContact.Store(int64(time.Since(n.client.made)))
	}
	return k, err
}

// StatusError is what the API server answers where it refuses.
type StatusError struct {
	Code    int
	Message string
	after   time.Duration // to wait, where it says so
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the API server says %d: %s", e.Code, text.Line(e.Message, 200))
}

// HasCode says whether the API server refused with a code.
func HasCode(err error, code int) bool {
	refused, ok := errors.AsType[*StatusError](err)
	return ok && refused.Code == code
}

// Request is what the API server is asked.
type Request struct {
	Method string // default GET
	Path   string
	Query  url.Values
	Type   string // of Body
	Body   any    // is written as JSON; nil: none
}

// Ask makes a request, and returns an answer of 2xx, whose body is to be closed.
func (c *Client) Ask(ctx context.Context, rt http.RoundTripper, r Request) (*http.Response, error) {
	u := *c.server
	u.Path = strings.TrimSuffix(u.Path, "/") + r.Path
	u.RawQuery = r.Query.Encode()
	var body io.Reader = http.NoBody
	if r.Body != nil {
		raw, err := json.Marshal(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", cmp.Or(r.Type, "application/json"))
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return nil, errors.New(text.Error(err, 200))
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what came of it
	refused := &StatusError{Code: res.StatusCode, Message: string(said)}
	var status struct{ Message string }
	if json.Unmarshal(said, &status) == nil && status.Message != "" {
		refused.Message = status.Message
	}
	if after, err := time.ParseDuration(res.Header.Get("Retry-After") + "s"); err == nil {
		refused.after = min(max(0, after), maxRetryAfter)
	}
	return nil, refused
}

// maxAnswer bounds the answer to a request about one object, which has 1.5 MB at most by etcd's
// limit.
const maxAnswer = 4 << 20

// Do makes a request about one object, and decodes what it has become into an object, if that is
// not nil.
func (c *Client) Do(ctx context.Context, rt http.RoundTripper, r Request, object any) error {
	res, err := c.Ask(ctx, rt, r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil || object == nil {
		return err
	}
	return json.Unmarshal(raw, object)
}
