package api

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// statuses sends bytes, and returns the statuses of all answers until the connection ends.
func statuses(t *testing.T, addr, request string) []int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Statuses(t, conn, patience, request, 9)
}

// TestAmbiguousRequestsAreRefused: where a request ends in two places, nothing but the refusal is
// answered, and what follows is not taken for another request.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, nil)
	const follows = "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	for name, headers := range map[string]string{
		"length and chunks":        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":        "Transfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":              "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
		"the same length twice":    "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"two lengths in one":       "Content-Length: 0, 0\r\n\r\n",
		"chunks twice":             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an encoding besides":      "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a space before the colon": "Content-Length : 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a plus sign":              "Content-Length: +5\r\n\r\nhello",
	} {
		for _, method := range []string{"GET", "POST"} {
			got := statuses(t, f.Addr(), method+" /live HTTP/1.1\r\nHost: localhost\r\n"+headers+follows)
			if len(got) != 1 || got[0] < 400 || got[0] >= 500 && got[0] != http.StatusNotImplemented {
				t.Errorf("%s with %s: answered %v, want one refusal", method, name, got)
			}
		}
	}
	if got := statuses(t, f.Addr(), "GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"+follows); fmt.Sprint(got) != "[200 200]" {
		t.Errorf("chunks alone: answered %v", got)
	}
}

// TestHosts: a page of another site that has its name mean 127.0.0.1 reads nothing.
func TestHosts(t *testing.T) {
	t.Parallel()
	local, named := start(t, Config{}, nil, nil), start(t, Config{Access: access.Config{Hosts: []string{"mesh.example"}}}, nil, nil)
	anywhere := start(t, Config{Host: "0.0.0.0"}, nil, nil)
	_, port, _ := net.SplitHostPort(anywhere.Addr())
	for _, tt := range []struct {
		addr, host string
		want       int
	}{
		{local.Addr(), "localhost:8000", 200}, {local.Addr(), local.Addr(), 200}, {local.Addr(), "rebound.example", 403},
		{named.Addr(), "mesh.example", 200}, {named.Addr(), "rebound.example:8000", 403},
		{net.JoinHostPort("127.0.0.1", port), "any.example", 200},
	} {
		for _, path := range []string{"/live", "/mesh", "/", "/nothing"} {
			request := "GET " + path + " HTTP/1.1\r\nHost: " + tt.host + "\r\nConnection: close\r\n\r\n"
			want := tt.want
			if path == "/nothing" && want == 200 {
				want = 404
			}
			if got := statuses(t, tt.addr, request); fmt.Sprint(got) != fmt.Sprint([]int{want}) {
				t.Errorf("%s at %s for %s: answered %v, want %d", path, tt.addr, tt.host, got, want)
			}
			absolute := strings.Replace(strings.Replace(request, "Host: "+tt.host, "Host: localhost", 1), "GET /", "GET http://"+tt.host+"/", 1)
			if got := statuses(t, tt.addr, absolute); fmt.Sprint(got) != fmt.Sprint([]int{want}) {
				t.Errorf("%s at %s for %s, in the request line: answered %v, want %d", path, tt.addr, tt.host, got, want)
			}
		}
	}
}
