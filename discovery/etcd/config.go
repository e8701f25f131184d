package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// DefaultEndpoint is where etcd is looked for when a Config names no endpoint.
const DefaultEndpoint = "http://localhost:2379"

// Config says how to reach etcd. The zero value is etcd on this host without TLS or password.
type Config struct {
	Endpoints   []string // URLs or host:port; default DefaultEndpoint
	Username    string   // with Password: etcd's own authentication; prefer client certificates
	Password    string
	CAFile      string // PEM bundle that the server's certificate must chain to; default the system's
	CertFile    string // with KeyFile: the client's certificate, PEM; read anew for each connection
	KeyFile     string
	DialTimeout time.Duration // bound on one connection attempt; default 3 s
}

const defaultDialTimeout = 3 * time.Second

// Validate says what in the configuration cannot be used. Its error is a *dynmesh.ConfigError.
func (c Config) Validate() error {
	schemes := make(map[string]string) // an endpoint of each scheme
	for _, endpoint := range c.Endpoints {
		scheme, err := checkEndpoint(endpoint)
		if err != nil {
			return err
		}
		schemes[scheme] = endpoint
	}
	if len(schemes) > 1 {
		// The client would use the first one's scheme for all.
		return refused("Endpoints", strings.Join(c.Endpoints, ","), "one scheme for all")
	}
	if plain, ok := schemes["http"]; (ok || len(c.Endpoints) == 0) && (c.CAFile != "" || c.CertFile != "") {
		// The client would silently speak plain text, password included.
		return refused("Endpoints", cmp.Or(plain, DefaultEndpoint), "https://host:port, because certificates are configured")
	}
	if (c.Username == "") != (c.Password == "") {
		return refused("Username", nil, "Username and Password, or neither")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return refused("CertFile", nil, "a certificate and its key, or neither")
	}
	if c.DialTimeout < 0 {
		return refused("DialTimeout", c.DialTimeout, "a positive duration")
	}
	_, err := c.tls()
	return err
}

// refused returns the error of a field. Nil is for a value that is missing or secret.
func refused(field string, value any, want string) error {
	return dynmesh.NewConfigError("etcd", field, value, want)
}

// checkEndpoint returns the scheme of an endpoint, empty where it has none. Its error does not
// repeat a password.
func checkEndpoint(endpoint string) (scheme string, err error) {
	scheme, address, ok := strings.Cut(endpoint, "://")
	if !ok {
		scheme, address = "", endpoint
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	n, portErr := strconv.ParseUint(port, 10, 16)
	known := !ok || scheme == "http" || scheme == "https"
	if err == nil && portErr == nil && n != 0 && known && host != "" && !strings.ContainsAny(host, "/@?# ") {
		return scheme, nil
	}
	want := "http://host:port, https://host:port or host:port"
	if strings.Contains(endpoint, "@") {
		want += "; user and password are settings of their own"
	}
	return "", refused("Endpoints", text.URL(endpoint), want)
}

func (c Config) endpoints() []string {
	if len(c.Endpoints) == 0 {
		return []string{DefaultEndpoint}
	}
	return c.Endpoints
}

// Addrs returns the host:port of each endpoint.
func (c Config) Addrs() []string {
	var addrs []string
	for _, endpoint := range c.endpoints() {
		_, addr, ok := strings.Cut(endpoint, "://")
		if !ok {
			addr = endpoint
		}
		addrs = append(addrs, strings.TrimSuffix(addr, "/"))
	}
	return addrs
}

// tls returns nil where no TLS setting is given; the client then uses the system's defaults for
// https endpoints.
func (c Config) tls() (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, &dynmesh.ConfigError{Config: "etcd", Field: "CAFile", Err: err}
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, refused("CAFile", c.CAFile, "a file with a certificate in PEM")
		}
	}
	if c.CertFile != "" {
		if _, err := c.clientCertificate(nil); err != nil {
			return nil, err
		}
		out.GetClientCertificate = c.clientCertificate // for each handshake: a renewed one is picked up
	}
	return out, nil
}

func (c Config) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "etcd", Field: "CertFile", Err: err}
	}
	return &cert, nil
}

// dial makes a client. It connects in the background, but for a password, which it exchanges for a
// token first: within DialTimeout, and until ctx ends.
func (c Config) dial(ctx context.Context, log *zap.Logger) (*clientv3.Client, error) {
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	timeout := c.DialTimeout
	if timeout == 0 {
		timeout = defaultDialTimeout
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay = 100 * time.Millisecond
	reconnect.MaxDelay = 3 * time.Second // gRPC's own limit of two minutes would outlast every lease
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	keep := context.AfterFunc(ctx, end) // ctx bounds the exchange, not the client
	client, err := clientv3.New(clientv3.Config{
		Context:     life,
		Endpoints:   c.endpoints(),
		Username:    c.Username,
		Password:    c.Password,
		TLS:         tlsConfig,
		DialTimeout: timeout,
		// A half-open connection would otherwise be noticed after two hours; pings more often than
		// every 5 s are answered with too_many_pings.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               log,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: timeout}),
		},
	})
	if !keep() && err == nil { // it has ended just now, and the client with it
		return nil, errors.Join(ctx.Err(), client.Close())
	}
	return client, err
}
