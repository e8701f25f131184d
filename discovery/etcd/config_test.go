package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Both certificates are asked for: the server must prove itself, and so must the client.
func TestRegistrarOverTLS(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	ca := newAuthority(t, "etcd-ca")
	serverCert := ca.issue(t, "server")
	endpoint := startTLS(t, server.Endpoint(), ca, serverCert)

	clientCert := ca.issue(t, "client")
	good := etcd.Config{
		Endpoints: []string{endpoint}, CAFile: ca.file, CertFile: clientCert.certFile, KeyFile: clientCert.keyFile,
	}
	r := newRegistrar(t, etcd.RegistrarConfig{Etcd: good}, "generate")
	start(t, r.Run)
	awaitRegistered(t, r)
	if keys := instanceKeys(t, dial(t, server.Endpoint())); len(keys) != 1 {
		t.Errorf("keys = %v, want one", keys)
	}

	stranger := newAuthority(t, "another-ca")
	strangerCert := stranger.issue(t, "client")
	for _, tt := range []struct {
		name string
		cfg  etcd.Config
	}{
		{"no client certificate", etcd.Config{Endpoints: []string{endpoint}, CAFile: ca.file}},
		{"client certificate of another authority", etcd.Config{
			Endpoints: []string{endpoint}, CAFile: ca.file, CertFile: strangerCert.certFile, KeyFile: strangerCert.keyFile,
		}},
		{"server of another authority", etcd.Config{
			Endpoints: []string{endpoint}, CAFile: stranger.file, CertFile: clientCert.certFile, KeyFile: clientCert.keyFile,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRegistrar(t, etcd.RegistrarConfig{Etcd: tt.cfg}, "generate")
			start(t, r.Run)
			testkit.Eventually(t, 10*time.Second, "a failed attempt", func() bool { return metric(t, r, "dynmesh_lease_failures_total") > 0 })
			select {
			case <-r.Registered():
				t.Error("registered all the same")
			default:
			}
		})
	}
}

func TestConfigValidate(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.issue(t, "client")
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  etcd.Config
		want string // part of the error; empty: none
	}{
		{"zero value", etcd.Config{}, ""},
		{"several endpoints", etcd.Config{Endpoints: []string{"http://a:2379", "http://[::1]:2379/"}}, ""},
		{"no scheme", etcd.Config{Endpoints: []string{"a:2379", "b:2379"}}, ""},
		{"mixed schemes", etcd.Config{Endpoints: []string{"http://a:2379", "https://b:2379"}}, "want one scheme for all"},
		{"no port", etcd.Config{Endpoints: []string{"http://localhost"}}, `field Endpoints is "http://localhost": want http://host:port`},
		{"no host", etcd.Config{Endpoints: []string{"http://:2379"}}, `field Endpoints is "http://:2379"`},
		{"port out of range", etcd.Config{Endpoints: []string{"http://a:99999"}}, `field Endpoints is "http://a:99999"`},
		{"user", etcd.Config{Endpoints: []string{"http://u:p@a:2379"}}, `want http://host:port`},
		{"path", etcd.Config{Endpoints: []string{"http://a:2379/x"}}, `want http://host:port`},
		{"certificates", etcd.Config{Endpoints: []string{"https://a:2379"}, CAFile: ca.file, CertFile: cert.certFile, KeyFile: cert.keyFile}, ""},
		{"empty endpoint", etcd.Config{Endpoints: []string{""}}, `field Endpoints is ""`},
		{"scheme", etcd.Config{Endpoints: []string{"ftp://a"}}, `field Endpoints is "ftp://a": want http://host:port`},
		{"certificates for http", etcd.Config{Endpoints: []string{"http://a:2379"}, CAFile: ca.file}, "want https://host:port"},
		{"user alone", etcd.Config{Username: "u"}, "Username and Password"},
		{"certificate alone", etcd.Config{Endpoints: []string{"a:1"}, CertFile: cert.certFile}, "want a certificate and its key, or neither"},
		{"no such file", etcd.Config{Endpoints: []string{"a:1"}, CAFile: "/none.pem"}, "CAFile: open /none.pem"},
		{"not PEM", etcd.Config{Endpoints: []string{"a:1"}, CAFile: junk}, "want a file with a certificate in PEM"},
		{"key of another", etcd.Config{Endpoints: []string{"a:1"}, CertFile: cert.certFile, KeyFile: ca.issue(t, "x").keyFile}, "private key does not match"},
		{"timeout", etcd.Config{DialTimeout: -1}, "DialTimeout"},
	} {
		err := tt.cfg.Validate()
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Validate = %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Where somebody put a password into an endpoint, errors must not carry it into logs.
func TestEndpointErrorsHidePasswords(t *testing.T) {
	for _, endpoint := range []string{
		"http://u:SECRET@a:2379", "https://SECRET@a:2379", "u:SECRET@a:2379", "http://u:SECRET/@?#SECRET@a:2379", "ftp://u:SECRET@a",
		"http://a:2379?token=SECRET", "http://a:2379/#SECRET", "http:/u:SECRET@a:2379", "http://u:SECRET@", "u:SECRET@http://a:2379",
	} {
		for _, endpoints := range [][]string{{endpoint}, {"http://good:2379", endpoint}} {
			cfg := etcd.Config{Endpoints: endpoints}
			_, sampled := etcd.SampleMembers(t.Context(), cfg, 1)
			_, watched := etcd.NewWatcher(etcd.WatcherConfig{Etcd: cfg})
			_, registered := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: cfg})
			for _, err := range []error{cfg.Validate(), sampled, watched, registered} {
				if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "Endpoints") {
					t.Errorf("%s: error %v, want one without the password", endpoint, err)
				}
			}
		}
	}
}

// startTLS terminates TLS in front of target and returns the address for https.
func startTLS(t *testing.T, target string, ca *authority, cert *issued) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert.certFile, cert.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
			if err != nil {
				_ = near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				serving.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = near.Close(), far.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return "https://" + listener.Addr().String()
}

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

type issued struct{ certFile, keyFile string }

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, file: writePEM(t, "CERTIFICATE", der)}
}

func (a *authority) issue(t *testing.T, name string) *issued {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{certFile: writePEM(t, "CERTIFICATE", der), keyFile: writePEM(t, "EC PRIVATE KEY", keyDER)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
