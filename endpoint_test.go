package dynmesh

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	long := strings.Repeat("a", MaxNameLength)
	for _, tt := range []struct {
		in      string
		want    Endpoint
		wantErr string
	}{
		{in: "dyn://dynamo.backend.generate", want: Endpoint{"dynamo", "backend", "generate"}},
		{in: "dyn://A-z_0.9." + long, want: Endpoint{"A-z_0", "9", long}},
		{in: "dynamo.backend.generate", wantErr: "want dyn://"},
		{in: "dyn://dynamo.backend", wantErr: "has 2 parts"},
		{in: "dyn://a.b.c.d", wantErr: "has 4 parts"},
		{in: "dyn://.b.c", wantErr: "namespace name is empty"},
		{in: "dyn://a.b c.d", wantErr: `component name "b c" has the character ' '`},
		{in: "dyn://a.b.ü", wantErr: `endpoint name "ü" has the character 'ü'`},
		{in: "dyn://a.b." + long + "a", wantErr: "endpoint name has 256 characters"},
		{in: "dyn://a/b.c.d", wantErr: "namespace name"},
	} {
		got, err := ParseEndpoint(tt.in)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("ParseEndpoint(%.40q) error = %v, want one with %q", tt.in, err, tt.wantErr)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("ParseEndpoint(%.40q) = %v, %v, want %v", tt.in, got, err, tt.want)
		}
		if got.String() != tt.in {
			t.Errorf("String() = %q, want %q", got.String(), tt.in)
		}
	}
}
