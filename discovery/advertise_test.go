package discovery

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAdvertiseHost(t *testing.T) {
	for _, tt := range []struct {
		explicit string
		peers    []string
		want     string
		wantErr  string
	}{
		{explicit: "10.1.2.3", want: "10.1.2.3"},
		{explicit: "worker-3.fleet", want: "worker-3.fleet"},
		{explicit: "fd00::7", want: "fd00::7"},
		{explicit: "[fd00::7]", want: "fd00::7"},
		{explicit: "0.0.0.0", wantErr: "unspecified"},
		{explicit: "::", wantErr: "unspecified"},
		{explicit: "10.1.2.3:8000", wantErr: "without scheme and port"},
		{explicit: "http://h", wantErr: "without scheme and port"},
		{peers: []string{"127.0.0.1:2379"}, want: "127.0.0.1"},
		{peers: []string{"name.invalid:2379", "127.0.0.1:1"}, want: "127.0.0.1"},
	} {
		got, err := AdvertiseHost(tt.explicit, tt.peers)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("AdvertiseHost(%q, %q) = %q, %v, want an error with %q", tt.explicit, tt.peers, got, err, tt.wantErr)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("AdvertiseHost(%q, %q) = %q, %v, want %q", tt.explicit, tt.peers, got, err, tt.want)
		}
	}
}

// Where the way to the registry is unknown, any address of this host does, but never one that means
// nobody.
func TestAdvertiseHostWithoutRoute(t *testing.T) {
	got, err := AdvertiseHost("", []string{"name.invalid:2379"})
	if err != nil {
		t.Fatal(err)
	}
	if ip, err := netip.ParseAddr(got); err != nil || ip.IsUnspecified() {
		t.Errorf("AdvertiseHost = %q, want an address that can be called", got)
	}
}
