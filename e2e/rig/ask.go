package rig

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Startup bounds what has to come up.
const Startup = time.Minute

// Address returns a host:port that was free a moment ago.
func Address(t testing.TB) string { return fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)) }

// NewAsker is a client for what should be answered at once. It keeps no connection.
func NewAsker() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// Get returns an answer; its status is 0 where there is none.
func Get(ctx context.Context, url string) (status int, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil
	}
	resp, err := NewAsker().Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}
