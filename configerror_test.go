package dynmesh

import (
	"errors"
	"strings"
	"testing"
)

func TestConfigError(t *testing.T) {
	cause := errors.New("bind: address already in use")
	for _, tt := range []struct {
		err  *ConfigError
		want string
	}{
		{NewConfigError("worker", "RPC.RootPath", "rpc", "a path"), `field RPC.RootPath is "rpc": want a path`},
		{NewConfigError("worker", "RPC.Port", -1, "0 to 65535"), `field RPC.Port is -1: want 0 to 65535`},
		{NewConfigError("sidecar", "APIKey", nil, "characters that a header can carry"), `field APIKey: want characters that a header can carry`},
		{NewConfigError("worker", "Component", "a\nb", "a name"), `field Component is "a\nb": want a name`},
		{NewConfigError("worker", "Component", strings.Repeat("é", 101), "a name"), `field Component is "` + strings.Repeat("é", 100) + `…": want a name`},
		{&ConfigError{Config: "gossip", Field: "Bind", Err: cause}, "field Bind: bind: address already in use"},
		{&ConfigError{Config: "gossip", Field: "Bind", Value: "1"}, "field Bind is 1: it cannot be used"},
		{&ConfigError{Config: "sidecar", Field: "Backend", Value: `"http://h"`, Want: "a port", Err: cause}, `field Backend is "http://h": want a port: bind: address already in use`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if tt.err.Err != nil && !errors.Is(tt.err, tt.err.Err) {
			t.Errorf("%v does not unwrap to %v", tt.err, tt.err.Err)
		}
	}
}
