package sidecar

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/dynmesh/dynmesh"
)

// access is what an engine wants to be asked with.
type access struct {
	key   string      // "" where it wants none
	trust *tls.Config // nil: the system's authorities
}

func newAccess(cfg Config) (access, error) {
	a := access{key: cfg.APIKey}
	if cfg.CAFile == "" {
		return a, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return access{}, fmt.Errorf("field CAFile: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return access{}, fmt.Errorf("field CAFile: %s has no PEM certificate", cfg.CAFile)
	}
	a.trust = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	return a, nil
}

// header adds the key to that of a request.
func (a access) header(h http.Header) {
	if a.key != "" {
		h.Set("Authorization", "Bearer "+a.key)
	}
}

// metrics is the access to counters that are elsewhere: what is not the engine's own has no business with its key.
func (a access) metrics(base *url.URL, target string) access {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != base.Scheme || u.Hostname() != base.Hostname() {
		a.key = ""
	}
	return a
}

// hide takes the key out of an error that an engine wrote, who may have quoted the request.
func (a access) hide(err error) error {
	if a.key == "" || err == nil || !strings.Contains(err.Error(), a.key) {
		return err
	}
	hidden := func(s string) string { return strings.ReplaceAll(s, a.key, "…") }
	if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
		return &dynmesh.Failure{Reason: f.Reason, Detail: hidden(f.Detail)}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Status: e.Status, Text: hidden(e.Text)}
	}
	return errors.New(hidden(err.Error()))
}
