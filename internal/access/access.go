package access

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/secretfile"
)

// Config says who may ask. The zero value lets everybody ask, in plain.
type Config struct {
	CertFile, KeyFile string // PEM files of the server's certificate and its key; both, or none: plain HTTP

	// ClientCAFile is a PEM file of the authorities of which each client must have a certificate.
	// Empty: clients need none.
	ClientCAFile string

	// TokenFile has tokens, one a line: each of them lets in. Others on the host must not be able to
	// use it. Empty: nobody needs one.
	TokenFile string

	// Hosts are the names, besides the usual ones, that requests may be for: see Hosts. Empty: any,
	// but where only this host is reached.
	Hosts []string

	// TokenForHealth has health checks need a token, too. Liveness never does.
	TokenForHealth bool
}

// Bounds on tokens.
const (
	minToken  = 16 // bytes: shorter ones can be guessed
	maxTokens = 16
)

// Access is a Config whose files have been read. Its methods may be called from any goroutine.
type Access struct {
	cfg    Config
	tls    *files[*tls.Config] // nil: plain
	tokens *files[tokens]      // nil: there are none
}

// tokens are hashed, so that comparing takes the same time whatever their lengths.
type tokens [][sha256.Size]byte

// New reads the files. Its error is a *dynmesh.ConfigError of the config "access".
func New(cfg Config, log *logrus.Entry) (*Access, error) {
	a := &Access{cfg: cfg}
	var err error
	for _, name := range cfg.Hosts {
		if strings.Trim(name, hostCharacters) != "" {
			return nil, dynmesh.NewConfigError("access", "Hosts", name, "names such as dynmesh.example.com, without scheme and port")
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, dynmesh.NewConfigError("access", "CertFile", nil, "a certificate and its key, or neither")
	}
	if cfg.ClientCAFile != "" && cfg.CertFile == "" {
		return nil, dynmesh.NewConfigError("access", "ClientCAFile", cfg.ClientCAFile, "a certificate of the server's and its key besides: without TLS nobody shows one")
	}
	if cfg.TokenForHealth && cfg.TokenFile == "" {
		return nil, dynmesh.NewConfigError("access", "TokenForHealth", cfg.TokenForHealth, "a file of tokens besides")
	}
	if cfg.CertFile != "" {
		paths := []string{cfg.CertFile, cfg.KeyFile}
		if cfg.ClientCAFile != "" {
			paths = append(paths, cfg.ClientCAFile)
		}
		if a.tls, err = open("certificate", log, os.ReadFile, parseTLS, paths...); err != nil {
			return nil, &dynmesh.ConfigError{Config: "access", Field: "CertFile", Err: err}
		}
	}
	if cfg.TokenFile != "" {
		if a.tokens, err = open("file of tokens", log, secretfile.Read, parseTokens, cfg.TokenFile); err != nil {
			return nil, &dynmesh.ConfigError{Config: "access", Field: "TokenFile", Err: err}
		}
	}
	return a, nil
}

// parseTLS makes the server's side of a connection of a certificate, its key, and perhaps the
// authorities of clients.
func parseTLS(contents [][]byte) (*tls.Config, error) {
	cert, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if len(contents) > 2 {
		cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !cfg.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return nil, errors.New("no certificate in PEM in the file of clients' authorities")
		}
	}
	return cfg, nil
}

// parseTokens reads tokens.
func parseTokens(contents [][]byte) (all tokens, err error) {
	lines, err := tokenLines(contents[0])
	for _, line := range lines {
		all = append(all, sha256.Sum256(line))
	}
	return all, err
}

// tokenLines are the tokens in a file, of which there is one at least. Errors do not repeat them.
func tokenLines(content []byte) (all [][]byte, err error) {
	for line := range bytes.SplitSeq(content, []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
			continue
		case len(line) < minToken:
			return nil, fmt.Errorf("a token of %d bytes: want %d or more", len(line), minToken)
		case len(all) == maxTokens:
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
		all = append(all, line)
	}
	if len(all) == 0 {
		return nil, errors.New("no token in it: want one a line")
	}
	return all, nil
}

// Scheme is that of the URLs of what is served: http or https.
func (a *Access) Scheme() string {
	if a.tls == nil {
		return "http"
	}
	return "https"
}

// Listener is ln with TLS where there is to be some. Its connections shake hands when they are
// first used. They speak HTTP/1.1: of HTTP/2, requests share connections, which are counted and
// cut.
func (a *Access) Listener(ln net.Listener) net.Listener {
	if cfg := a.TLS("http/1.1"); cfg != nil {
		return tls.NewListener(ln, cfg)
	}
	return ln
}

// TLS is the server's side of connections that speak a protocol, as ALPN names it; nil: plain.
func (a *Access) TLS(protocol string) *tls.Config {
	if a.tls == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cfg := a.tls.current().Clone()
			cfg.NextProtos = []string{protocol}
			return cfg, nil
		},
	}
}

// Kind is what a route is about.
type Kind uint8

// The kinds.
const (
	Fleet    Kind = iota // it shows the fleet, or changes something: it needs a token where there are some
	Health               // health checks ask it: it needs one where they are to
	Liveness             // nobody needs one
)

// HasTokens says whether anybody needs a token.
func (a *Access) HasTokens() bool { return a.tokens != nil }

// Admits says whether a request with this Authorization header may have a route of a kind.
func (a *Access) Admits(kind Kind, authorization string) bool {
	if a.tokens == nil || kind == Liveness || kind == Health && !a.cfg.TokenForHealth {
		return true
	}
	given := sha256.Sum256([]byte(tokenIn(authorization)))
	found := 0
	for _, token := range a.tokens.current() {
		found |= subtle.ConstantTimeCompare(given[:], token[:])
	}
	return found == 1
}

// Challenge is the WWW-Authenticate header of who is not let in: browsers ask for a password then,
// which is the token, with any name.
const Challenge = `Basic realm="dynmesh", charset="UTF-8", Bearer realm="dynmesh"`

// Denied is what to tell who is not let in.
const Denied = "want Authorization: Bearer TOKEN, with one of the tokens in the DYN_API_TOKEN_FILE of this process"

// Equal says whether an Authorization header has this secret, which must not be empty.
func Equal(authorization, secret string) bool {
	given, want := sha256.Sum256([]byte(tokenIn(authorization))), sha256.Sum256([]byte(secret))
	return secret != "" && subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// tokenIn is the token in an Authorization header: a bearer's, or a password. Schemes are in any
// case.
func tokenIn(authorization string) string {
	scheme, credentials, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	credentials = strings.TrimSpace(credentials)
	switch strings.ToLower(scheme) {
	case "bearer":
		return credentials
	case "basic":
		pair, err := base64.StdEncoding.DecodeString(credentials)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(pair), ":")
		return password
	}
	return ""
}
