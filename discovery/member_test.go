package discovery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func TestDecodeMember(t *testing.T) {
	const id = 0x694d9b90ff8deb4b
	for _, tt := range []struct {
		name, value string
		want        dynmesh.RegisteredMember
		reason      dynmesh.RejectReason
	}{
		{name: "all of it",
			value: `{"role":"frontend","host":"h","pid":7,"version":"v1","started_at":"2026-11-22T10:00:00Z","system_url":"http://h:1","gossip_addr":"[::1]:7946","labels":{"zone":"a"}}`,
			want: dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{
				Role: "frontend", Host: "h", PID: 7, Version: "v1", StartedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
				SystemURL: "http://h:1", GossipAddr: "[::1]:7946", Labels: map[string]string{"zone": "a"},
			}}},
		{name: "an older version's", value: `{"host":"h"}`, want: dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{Role: "worker", Host: "h"}}},
		{name: "a newer version's", value: `{"role":"router","mood":["fine"],"labels":null}`, want: dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{Role: "router"}}},
		{name: "no object", value: `null`, reason: dynmesh.RejectJSON},
		{name: "no JSON", value: `hello`, reason: dynmesh.RejectJSON},
		{name: "not UTF-8", value: "{\"host\":\"\xff\"}", reason: dynmesh.RejectJSON},
		{name: "large", value: `{"host":"` + strings.Repeat("x", 1<<20) + `"}`, reason: dynmesh.RejectSize},
		{name: "type", value: `{"pid":"7"}`, reason: dynmesh.RejectField},
		{name: "time", value: `{"started_at":"yesterday"}`, reason: dynmesh.RejectField},
		{name: "labels", value: `{"labels":{"a":1}}`, reason: dynmesh.RejectField},
		{name: "address without port", value: `{"gossip_addr":"10.0.0.1"}`, reason: dynmesh.RejectField},
		{name: "address without host", value: `{"gossip_addr":":7946"}`, reason: dynmesh.RejectField},
		{name: "port 0", value: `{"gossip_addr":"10.0.0.1:0"}`, reason: dynmesh.RejectField},
	} {
		got, err := discovery.DecodeMember(id, []byte(tt.value))
		if tt.reason == "" {
			if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
			}
			continue
		}
		why, ok := errors.AsType[*discovery.RejectError](err)
		if !ok || why.Reason != tt.reason || why.Detail == "" || len(why.Detail) > dynmesh.MaxRejectedDetail {
			t.Errorf("%s: %v, want it rejected for %s, in a few words", tt.name, err, tt.reason)
		}
	}
}

// What one process says of itself costs others a few hundred bytes, fits into a line, and gives no
// secret away.
func TestDecodeMemberBoundsTexts(t *testing.T) {
	decode := func(field, value string) (dynmesh.RegisteredMember, error) {
		t.Helper()
		text, err := json.Marshal(map[string]any{field: value})
		if err != nil {
			t.Fatal(err)
		}
		return discovery.DecodeMember(1, text)
	}
	fields := map[string]func(dynmesh.RegisteredMember) string{
		"role":       func(m dynmesh.RegisteredMember) string { return string(m.Role) },
		"host":       func(m dynmesh.RegisteredMember) string { return m.Host },
		"version":    func(m dynmesh.RegisteredMember) string { return m.Version },
		"system_url": func(m dynmesh.RegisteredMember) string { return m.SystemURL },
	}
	for field, of := range fields {
		m, err := decode(field, strings.Repeat("x", 60_000))
		if err != nil || len(of(m)) > 512 {
			t.Errorf("%s of 60,000 bytes: %d are left, %v", field, len(of(m)), err)
		}
		if m, err = decode(field, "a\r\n\x1b[31mb\u2028c\u202ed\x00"); err != nil || strings.IndexFunc(of(m), func(r rune) bool { return !unicode.IsGraphic(r) }) >= 0 {
			t.Errorf("%s with control characters: %q, %v", field, of(m), err)
		}
	}
	for _, addr := range []string{strings.Repeat("x", 300) + ":1", "a\nb:1", "a\u202eb:1"} {
		if m, err := decode("gossip_addr", addr); err == nil {
			t.Errorf("gossip_addr %.20q… became %.20q…, want an error", addr, m.GossipAddr)
		} else if len(err.Error()) > dynmesh.MaxRejectedDetail {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
	for raw, want := range map[string]string{
		"http://u:secret@h:1/a?token=secret#x": "http://h:1/a",
		"http://[::1]:9/":                      "http://[::1]:9/",
		"http:h:1":                             "",
		"http://h:x":                           "",
		"":                                     "",
	} {
		if m, err := decode("system_url", raw); err != nil || m.SystemURL != want {
			t.Errorf("system_url %q became %q, %v, want %q", raw, m.SystemURL, err, want)
		}
	}

	labels := make(map[string]string)
	for i := range 500 {
		labels[fmt.Sprintf("%04d\n%s", i, strings.Repeat("n", 10))] = strings.Repeat("é", 20)
	}
	labels["0000"] = strings.Repeat("é", 5000)
	text, err := json.Marshal(map[string]any{"labels": labels})
	if err != nil {
		t.Fatal(err)
	}
	m, err := discovery.DecodeMember(1, text)
	if err != nil || len(m.Labels) != 100 || m.Labels["0001 nnnnnnnnnn"] != strings.Repeat("é", 20) {
		t.Errorf("501 labels became %d, %v, want the first 100", len(m.Labels), err)
	}
	if n := len(m.Labels["0000"]); n > 256 || !utf8.ValidString(m.Labels["0000"]) {
		t.Errorf("a label of 10,000 bytes became one of %d", n)
	}
}
