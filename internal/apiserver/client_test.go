package apiserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// A wall clock that is set makes no contact older or newer.
func TestLastContact(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, err := newClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	made := c.LastContact()
	transport, hangUp, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	got := c.LastContact()
	if !got.After(made) || got.Before(before) || got.After(time.Now()) {
		t.Errorf("got %v, want it between %v and now", got, before)
	}
	if !strings.Contains(got.String(), " m=") {
		t.Errorf("got %v, which has no monotonic reading", got)
	}
}
