package access_test

import (
	"encoding/base64"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Nobody is let in who does not show the token.
func FuzzAuthorization(f *testing.F) {
	file := filepath.Join(f.TempDir(), "tokens")
	if err := writeFile(file, token); err != nil {
		f.Fatal(err)
	}
	a, err := access.New(access.Config{TokenFile: file}, testkit.Quiet())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"Bearer " + token, "bearer  " + token + " ", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token)), "Basic", "Basic =", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, authorization string) {
		if !a.Admits(access.Fleet, authorization) {
			return
		}
		scheme, given, _ := strings.Cut(strings.TrimSpace(authorization), " ")
		pair, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(given))
		basic := strings.EqualFold(scheme, "basic") && strings.HasSuffix(string(pair), ":"+token)
		if strings.TrimSpace(given) != token && !basic {
			t.Errorf("%q is let in", authorization)
		}
	})
}

// No name is admitted that a stranger can have.
func FuzzHost(f *testing.F) {
	hosts := access.NewHosts(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, "mesh.example")
	for _, s := range []string{"localhost:80", "127.0.0.1", "[::1]:80", "mesh.example.:80", "127.0.0.1.rebound.example", "localhost.rebound.example", "::1", "[a]", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !hosts.Admits(host) || host == "" {
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		name = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"), "."))
		_, err := netip.ParseAddr(name)
		own := name == "mesh.example" || name == "localhost" || strings.HasSuffix(name, ".localhost")
		if err != nil && !own && strings.Contains(name, ".") {
			t.Errorf("%q is admitted", host)
		}
	})
}
