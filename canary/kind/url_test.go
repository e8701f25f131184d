package kind

import (
	"net/url"
	"testing"
)

func TestURLs(t *testing.T) {
	parse := func(raw string) *url.URL {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct{ root, path, want string }{
		{"http://h:1", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/x", "/metrics?model=a%2Fb&c=d", "http://h:1/x/metrics?model=a%2Fb&c=d"},
		{"http://h:1/a%2Fb/", "/v2/models/x%2Fy/generate_stream", "http://h:1/a%2Fb/v2/models/x%2Fy/generate_stream"},
	} {
		if got := URL(parse(tt.root), tt.path); got != tt.want {
			t.Errorf("%s and %s: got %s, want %s", tt.root, tt.path, got, tt.want)
		}
	}
}
