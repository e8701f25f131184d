package kubernetes

import (
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

// client is how the API server is reached: where client-go says, and as whom. Each connection of
// its own has what is in the files of certificates then.
type client struct {
	config      *rest.Config
	server      *url.URL
	lastContact atomic.Int64 // when something came from the server, in ns since 1970
}

// loadConfig finds the API server by a kubeconfig, else as a pod does, and the namespace to follow.
func loadConfig(kubeconfig, namespace string) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // KUBECONFIG, then ~/.kube/config
	if files := filepath.SplitList(kubeconfig); len(files) > 1 {
		rules.Precedence = files
	} else {
		rules.ExplicitPath = kubeconfig
	}
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	config, err := loaded.ClientConfig()
	if clientcmd.IsEmptyConfig(err) || err != nil && errors.Is(err, rest.ErrNotInCluster) {
		return nil, "", dynmesh.NewConfigError("kubernetes", "Kubeconfig", nil, "a pod with a service account, KUBECONFIG, or ~/.kube/config")
	}
	if err != nil {
		return nil, "", &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	if namespace == "" {
		if namespace, _, err = loaded.Namespace(); err != nil {
			return nil, "", &dynmesh.ConfigError{Config: "kubernetes", Field: "Namespace", Err: errors.New(text.Error(err, 200))}
		}
	}
	return config, namespace, nil
}

func newClient(config *rest.Config) (*client, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	c := &client{config: config, server: server}
	if _, _, err := c.connect(); err != nil {
		return nil, &dynmesh.ConfigError{Config: "kubernetes", Field: "Kubeconfig", Err: errors.New(text.Error(err, 200))}
	}
	return c, nil
}

// connect returns what makes requests over connections of its own, and closes them.
func (c *client) connect() (http.RoundTripper, func(), error) {
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
			return &noted{conn, &c.lastContact}, nil
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
	at *atomic.Int64
}

func (n *noted) Read(b []byte) (int, error) {
	k, err := n.Conn.Read(b)
	if k > 0 {
		n.at.Store(time.Now().UnixNano())
	}
	return k, err
}

// statusError is what the API server answers where it refuses.
type statusError struct {
	code    int
	message string
	after   time.Duration // to wait, where it says so
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API server says %d: %s", e.code, text.Line(e.message, 200))
}

// hasCode says whether the API server refused with a code.
func hasCode(err error, code int) bool {
	refused, ok := errors.AsType[*statusError](err)
	return ok && refused.code == code
}

// get asks for a path, and returns an answer of 200, whose body is to be closed.
func (c *client) get(ctx context.Context, rt http.RoundTripper, path string, query url.Values) (*http.Response, error) {
	u := *c.server
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := rt.RoundTrip(req)
	if err != nil {
		return nil, errors.New(text.Error(err, 200))
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what came of it
	refused := &statusError{code: res.StatusCode, message: string(body)}
	var status struct{ Message string }
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		refused.message = status.Message
	}
	if after, err := time.ParseDuration(res.Header.Get("Retry-After") + "s"); err == nil {
		refused.after = min(max(0, after), maxRetryAfter)
	}
	return nil, refused
}
