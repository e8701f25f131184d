package etcd

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DefaultEndpoint is where etcd is looked for when a Config names no endpoint.
const DefaultEndpoint = "http://localhost:2379"

// Config says how to reach etcd. The zero value is etcd on this host without TLS or password.
type Config struct {
	Endpoints   []string      // URLs or host:port; default DefaultEndpoint
	Username    string        // with Password: etcd's own authentication; prefer client certificates
	Password    string        //
	CAFile      string        // PEM bundle that the server's certificate must chain to; default the system's
	CertFile    string        // with KeyFile: the client's certificate, PEM; read anew for each connection
	KeyFile     string        //
	DialTimeout time.Duration // bound on one connection attempt; default 3 s
}

const defaultDialTimeout = 3 * time.Second

// Validate says what in the configuration cannot be used, naming the field.
func (c Config) Validate() error {
	schemes := make(map[string]string) // an endpoint of each scheme
	for _, endpoint := range c.Endpoints {
		scheme, err := checkEtcdEndpoint(endpoint)
		if err != nil {
			return err
		}
		schemes[scheme] = endpoint
	}
	if len(schemes) > 1 {
		// The client would use the first one's scheme for all.
		return fmt.Errorf("etcd endpoints %s: want one scheme for all", strings.Join(c.Endpoints, ","))
	}
	if plain, ok := schemes["http"]; (ok || len(c.Endpoints) == 0) && (c.CAFile != "" || c.CertFile != "") {
		// The client would silently speak plain text, password included.
		return fmt.Errorf("etcd endpoint %q: certificates are configured, but the endpoint is not https",
			cmp.Or(plain, DefaultEndpoint))
	}
	if (c.Username == "") != (c.Password == "") {
		return errors.New("etcd Username and Password: one is set without the other")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("etcd CertFile and KeyFile: one is set without the other")
	}
	if c.DialTimeout < 0 {
		return fmt.Errorf("etcd DialTimeout is %v: want a positive duration", c.DialTimeout)
	}
	_, err := c.tls()
	return err
}

// checkEtcdEndpoint returns the scheme of an endpoint, empty where it has none.
func checkEtcdEndpoint(endpoint string) (scheme string, err error) {
	scheme, address, ok := strings.Cut(endpoint, "://")
	if !ok {
		scheme, address = "", endpoint
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	n, portErr := strconv.ParseUint(port, 10, 16)
	known := !ok || scheme == "http" || scheme == "https"
	if err != nil || portErr != nil || n == 0 || !known || host == "" || strings.ContainsAny(host, "/@?# ") {
		return "", fmt.Errorf("etcd endpoint %q: want http://host:port, https://host:port or host:port%s",
			withoutUser(endpoint), userHint(endpoint))
	}
	return scheme, nil
}

// withoutUser returns an endpoint as it may be shown, however malformed it is: without user,
// password and query.
func withoutUser(endpoint string) string {
	rest := endpoint
	if i := strings.LastIndexByte(rest, '@'); i >= 0 { // the last one: a password may have any character
		rest = "…" + rest[i:]
		if scheme, _, ok := strings.Cut(endpoint[:i], "://"); ok && !strings.ContainsAny(scheme, "@:") {
			rest = scheme + "://" + rest
		}
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i] + "…"
	}
	return rest
}

// userHint says where a user that stands in an endpoint belongs.
func userHint(endpoint string) string {
	if strings.Contains(endpoint, "@") {
		return "; user and password are settings of their own"
	}
	return ""
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
			return nil, fmt.Errorf("etcd CAFile: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd CAFile %s: holds no PEM certificate", c.CAFile)
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
		return nil, fmt.Errorf("etcd CertFile and KeyFile: %w", err)
	}
	return &cert, nil
}

// dial makes a client. It connects in the background, but for a password, which it exchanges for a
// token first.
func (c Config) dial(log *zap.Logger) (*clientv3.Client, error) {
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
	return clientv3.New(clientv3.Config{
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
}
