package parse_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

func TestSeconds(t *testing.T) {
	for given, want := range map[string]time.Duration{
		"10": 10 * time.Second, "1.5": 1500 * time.Millisecond, "10s": 10 * time.Second, "2m": 2 * time.Minute, "1e3": 1000 * time.Second, "30d": 30 * 24 * time.Hour,
		"0": 0, "-1": 0, "": 0, "x": 0, "NaN": 0, "Inf": 0, "1e300": 0, "-5s": 0, "10 s": 0, "d": 0, "0d": 0, "-1d": 0, "1.5d": 0, "99999d": 0,
	} {
		if got, err := parse.Seconds(given); got != want || (err == nil) != (want > 0) {
			t.Errorf("Seconds(%q) = %v, %v; want %v", given, got, err, want)
		}
	}
	for given, ok := range map[string]bool{"auto": true, "10": true, "0": false, "Auto": false, "": false} {
		if got, err := parse.AutoSeconds(given); (err == nil) != ok || given == parse.Auto && got != 0 {
			t.Errorf("AutoSeconds(%q) = %v, %v; accepted: want %v", given, got, err, ok)
		}
	}
	for given, ok := range map[string]bool{"2": true, "10s": true, "1": false, "2.5": false, "x": false} {
		if got, err := parse.WholeSeconds(given, 2*time.Second); (err == nil) != ok {
			t.Errorf("WholeSeconds(%q, 2 s) = %v, %v; accepted: want %v", given, got, err, ok)
		}
	}
}

// What is shown of a duration means the same as a setting.
func TestShownSeconds(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 90 * time.Second, 10 * time.Minute, time.Hour, 25 * time.Hour, 30 * 24 * time.Hour, 100 * time.Minute} {
		if got, err := parse.Seconds(text.Duration(d)); err != nil || got != d {
			t.Errorf("%s is read as %v, %v", text.Duration(d), got, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for given, want := range map[string]int{"0": 0, "1": 1, "65535": 65535, "65536": -1, "-1": -1, "": -1, "http": -1} {
		if got, err := parse.Port(given); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("Port(%q) = %d, %v; want %d", given, got, err, want)
		}
	}
	for given, want := range map[string]int{"1": 1, "3": 3, "0": -1, "4": -1, "x": -1} {
		if got, err := parse.Count(given, 3); (err == nil) != (want > 0) || err == nil && got != want {
			t.Errorf("Count(%q, 3) = %d, %v; want %d", given, got, err, want)
		}
	}
}

// What Dynamo takes besides, and what Kubernetes sets.
func TestDynamosValues(t *testing.T) {
	for given, want := range map[string]time.Duration{"0": time.Nanosecond, "0.0": time.Nanosecond, "5": 5 * time.Second, "2m": 2 * time.Minute, "-1": 0, "x": 0} {
		if got, err := parse.Timeout(given); got != want || (err == nil) != (want > 0) {
			t.Errorf("Timeout(%q) = %v, %v; want %v", given, got, err, want)
		}
	}
	for given, want := range map[string]time.Duration{"0": 0, "0.0": 0, "24h": 24 * time.Hour, "1d": 24 * time.Hour, "-1": -1, "x": -1} {
		if got, err := parse.SecondsOrNone(given); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("SecondsOrNone(%q) = %v, %v; want %v", given, got, err, want)
		}
	}
	for given, want := range map[string]int{"-1": parse.NoPort, "0": 0, "8081": 8081, "-2": -3, "65536": -3, "": -3} {
		if got, err := parse.PortOrNone(given); (err == nil) != (want != -3) || err == nil && got != want {
			t.Errorf("PortOrNone(%q) = %d, %v; want %d", given, got, err, want)
		}
	}
	for given, want := range map[string]int{"0": 0, "8081": 8081, "-1": -1, "65536": -1} {
		if got, err := parse.KnownPort(given); (err == nil) != (want >= 0) || err == nil && got != want || err != nil && !strings.Contains(err.Error(), "0 if it is not known") {
			t.Errorf("KnownPort(%q) = %d, %v; want %d", given, got, err, want)
		}
	}
	for given, want := range map[string]string{"[::1]": "::1", "::1": "::1", "host": "host", "": "", "[": "[", "[::1": "[::1"} {
		if got := parse.Host(given); got != want {
			t.Errorf("Host(%q) = %q, want %q", given, got, want)
		}
	}
	if got := parse.ServiceLink("DYN_HTTP_PORT", "tcp://10.0.0.1:80"); !strings.Contains(got, "a Service called dyn-http:") {
		t.Errorf("got %q", got)
	}
	for variable, value := range map[string]string{"DYN_HTTP_PORT": "http", "DYN_HTTP_HOST": "tcp://10.0.0.1:80"} {
		if got := parse.ServiceLink(variable, value); got != "" {
			t.Errorf("%s=%s: got %q", variable, value, got)
		}
	}
}

func TestBool(t *testing.T) {
	for given, want := range map[string]bool{"1": true, "Yes": true, "on": true, "true": true, "0": false, "no": false, "OFF": false, "false": false} {
		if got, err := parse.Bool(given); got != want || err != nil {
			t.Errorf("Bool(%q) = %v, %v; want %v", given, got, err, want)
		}
	}
	if _, err := parse.Bool("maybe"); err == nil {
		t.Error("Bool(maybe) is accepted")
	}
}

func TestLists(t *testing.T) {
	if got, err := parse.List(" a, ,b,"); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("List: %q, %v", got, err)
	}
	if got, err := parse.List(" , "); err == nil {
		t.Errorf("List of nothing: %q", got)
	}
	if got, err := parse.Labels("zone=a,zone=a"); err != nil || len(got) != 1 {
		t.Errorf("Labels, the same twice: %q, %v", got, err)
	}
	if got, err := parse.Labels("zone=a,rack=1,zone=b"); err == nil || err.Error() != `want one value for "zone", in place of "a" and "b"` {
		t.Errorf("Labels, two of a name: %q, %v", got, err)
	}
	if got, err := parse.Labels("zone=a, gpu=h100,x="); err != nil || !maps.Equal(got, map[string]string{"zone": "a", "gpu": "h100", "x": ""}) {
		t.Errorf("Labels: %q, %v", got, err)
	}
	many := ""
	for n := range 33 {
		many += fmt.Sprintf(",l%d=v", n)
	}
	for given, want := range map[string]string{
		"zone": "want name=value pairs", "=a": "want name=value pairs", "a=b,,c=d": "want name=value pairs", "a=b c": `in place of "a=b c"`, "a=b\x1b": `in place of "a=b\x1b"`,
		"a=ü": "letters, digits and", "a=$(NODE_NAME)": `in place of "a=$(NODE_NAME)"`, strings.Repeat("n", 64) + "=v": "names of 1 to 63",
		"n=" + strings.Repeat("v", 254): "values of up to 253", many[1:]: "want at most 32 labels, in place of 33",
	} {
		if got, err := parse.Labels(given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Labels(%q) = %q, %v, want %q", given, got, err, want)
		}
	}
	if _, err := parse.Labels("nvidia.com/gpu.product=H100," + strings.Repeat("n", 63) + "=" + strings.Repeat("v", 253) + ",at=["); err == nil {
		t.Error("brackets are taken")
	}
	if _, err := parse.Labels("nvidia.com/gpu.product=H100,node=ip-10-0-0-1.ec2.internal," + strings.Repeat("n", 63) + "=" + strings.Repeat("v", 253)); err != nil {
		t.Error(err)
	}
}

func TestNetworks(t *testing.T) {
	for given, want := range map[string]string{
		"10.1.2.3/8": "[10.0.0.0/8]", "10.0.0.0/8, fd00::/8": "[10.0.0.0/8 fd00::/8]", "192.0.2.1": "[192.0.2.1/32]", "::ffff:10.0.0.0/104": "[10.0.0.0/8]",
		"": "", "10.0.0.0/33": "", "10.0.0": "", "host": "", "10.0.0.0-10.0.0.9": "",
	} {
		if got, err := parse.Networks(given); (err == nil) != (want != "") || err == nil && fmt.Sprint(got) != want {
			t.Errorf("Networks(%q) = %v, %v; want %s", given, got, err, want)
		}
	}
}
