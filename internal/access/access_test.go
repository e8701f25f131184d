package access_test

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const token, newer = "a-token-of-enough-bytes", "another-token-of-enough-bytes"

func writeFile(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := writeFile(path, content); err != nil {
		t.Fatal(err)
	}
}

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write(t, file, "# of the operators\n"+token+"\r\n\n")
	logger, log := logtest.NewNullLogger()
	a, err := access.New(access.Config{TokenFile: file}, logger.WithField("component", "test"))
	if err != nil {
		t.Fatal(err)
	}
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	for authorization, want := range map[string]bool{
		"Bearer " + token: true, "bearer " + token: true, "BEARER  " + token + " ": true, basic(":" + token): true, basic("me:" + token): true,
		"": false, token: false, "Bearer": false, "Bearer ": false, "Bearer " + token + "x": false, "Bearer # of the operators": false,
		basic(token + ":"): false, "Basic " + token: false, "Digest " + token: false,
	} {
		if got := a.Admits(access.Fleet, authorization); got != want {
			t.Errorf("%q: got %v, want %v", authorization, got, want)
		}
	}
	if !a.Admits(access.Health, "") || !a.Admits(access.Liveness, "") {
		t.Error("health checks need a token, want them to need none")
	}
	strict, err := access.New(access.Config{TokenFile: file, TokenForHealth: true}, testkit.Quiet())
	if err != nil || strict.Admits(access.Health, "") || !strict.Admits(access.Health, "Bearer "+token) || !strict.Admits(access.Liveness, "") {
		t.Errorf("want health checks to need a token, and liveness to need none (%v)", err)
	}

	write(t, file, token+"\n"+newer+"\n")
	testkit.Eventually(t, 5*time.Second, "the new token counts", func() bool { return a.Admits(access.Fleet, "Bearer "+newer) })
	write(t, file, "short\n") // cannot be used
	testkit.Eventually(t, 5*time.Second, "a file that cannot be used is logged", func() bool {
		if !a.Admits(access.Fleet, "Bearer "+newer) {
			t.Fatal("a file that cannot be used has taken a token away")
		}
		last := log.LastEntry()
		return last != nil && strings.Contains(last.Message, "Cannot read the file of tokens again")
	})
	write(t, file, newer+"\n")
	testkit.Eventually(t, 5*time.Second, "the old token is gone", func() bool { return !a.Admits(access.Fleet, "Bearer "+token) })
	if !(&access.Access{}).Admits(access.Fleet, "") {
		t.Error("where there are no tokens, one is needed")
	}
}

// TestCertificates: clients need one where they are to, and a new one of the server needs no
// restart.
func TestCertificates(t *testing.T) {
	folder := t.TempDir()
	cert, key := testkit.Certificate(t, folder, "server")
	ours, oursKey := testkit.Certificate(t, folder, "client")
	a, err := access.New(access.Config{CertFile: cert, KeyFile: key, ClientCAFile: ours}, testkit.Quiet())
	if err != nil || a.Scheme() != "https" {
		t.Fatal(a, err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := a.Listener(plain)
	defer ln.Close()
	served := make(chan struct{})
	defer func() { _ = ln.Close(); <-served }()
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x")) // shakes hands
			_ = c.Close()
		}
	}()
	say := func(c access.Client) error {
		cfg, err := c.TLS()
		if err != nil {
			return err
		}
		conn, err := tls.Dial("tcp", plain.Addr().String(), cfg)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	if err := say(access.Client{CAFile: cert, CertFile: ours, KeyFile: oursKey}); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := say(access.Client{CAFile: cert}); err == nil {
		t.Error("without one it is let in")
	}
	if err := say(access.Client{CertFile: ours, KeyFile: oursKey}); err == nil {
		t.Error("a server is believed that no authority has signed for")
	}
	other, otherKey := testkit.Certificate(t, folder, "renewed")
	for from, to := range map[string]string{other: cert, otherKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 5*time.Second, "the renewed certificate", func() bool {
		return say(access.Client{CAFile: cert, CertFile: ours, KeyFile: oursKey}) == nil
	})
}

func TestNewRefuses(t *testing.T) {
	folder := t.TempDir()
	cert, key := testkit.Certificate(t, folder, "server")
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		write(t, path, content)
		return path
	}
	everybodys := file("everybody's", token)
	if err := os.Chmod(everybodys, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]access.Config{
		"a certificate and its key, or neither":                     {CertFile: cert},
		"field CertFile: tls:":                                      {CertFile: cert, KeyFile: file("garbage", "x")},
		"no certificate in PEM in the file of clients' authorities": {CertFile: cert, KeyFile: key, ClientCAFile: file("none", "")},
		"a certificate of the server's and its key besides":         {ClientCAFile: cert},
		"a file of tokens besides":                                  {TokenForHealth: true},
		"a token of 5 bytes: want 16 or more":                       {TokenFile: file("short", "short")},
		"no token in it: want one a line":                           {TokenFile: file("empty", "# none\n")},
		"without scheme and port":                                   {Hosts: []string{"mesh.example", "mesh.example:8000"}},
		"can be used by everybody":                                  {TokenFile: everybodys},
		"no such file":                                              {TokenFile: filepath.Join(folder, "nothing")},
	} {
		if _, err := access.New(cfg, testkit.Quiet()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
