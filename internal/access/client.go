package access

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/secretfile"
)

// Client is what a client shows, and whom it believes. The zero value shows nothing, and believes
// the system's authorities.
type Client struct {
	CAFile            string // PEM file of the authorities that sign the server's certificate
	CertFile, KeyFile string // its own certificate, where the server asks for one
	TokenFile         string // the first token in it is sent
}

// TLS is for the client's transport; nil: the system's own. Its error is a *dynmesh.ConfigError of
// the config "client".
func (c Client) TLS() (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" && c.KeyFile == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, &dynmesh.ConfigError{Config: "client", Field: "CAFile", Err: err}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, dynmesh.NewConfigError("client", "CAFile", c.CAFile, "a file with a certificate in PEM")
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &cert, err
		}
		if _, err := load(nil); err != nil {
			return nil, &dynmesh.ConfigError{Config: "client", Field: "CertFile", Err: err}
		}
		cfg.GetClientCertificate = load // for each connection: a renewed one is picked up
	}
	return cfg, nil
}

// Token is what goes with a question; empty: nothing. The file is read each time, so that a new
// token needs no restart.
func (c Client) Token() (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	content, err := secretfile.Read(c.TokenFile)
	var lines [][]byte
	if err == nil {
		lines, err = tokenLines(content)
	}
	if err != nil {
		return "", &dynmesh.ConfigError{Config: "client", Field: "TokenFile", Err: err}
	}
	return string(lines[0]), nil
}
