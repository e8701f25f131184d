package api

import "testing"

func lines(s []string) [][]byte {
	var b [][]byte
	for _, line := range s {
		b = append(b, []byte(line))
	}
	return b
}

func TestAcceptsGzip(t *testing.T) {
	for _, tt := range []struct {
		headers []string
		want    bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZip"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"deflate, gzip, br, zstd"}, true},
		{[]string{"deflate", "gzip"}, true},
		{[]string{"deflate"}, false},
		{[]string{"gzipped"}, false},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip; q=0.000"}, false},
		{[]string{"gzip ; Q=0.1"}, true},
		{[]string{"gzip;q=nonsense"}, false},
		{[]string{"gzip;q=2"}, false},
		{[]string{"gzip;q=NaN"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"*;q=0, gzip"}, true},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"identity"}, false},
		{[]string{"identity, gzip"}, true},
		{[]string{"identity;q=1, gzip;q=0.5"}, false},
		{[]string{"identity;q=0.5, gzip;q=1"}, true},
		{[]string{"identity;q=0, *;q=0.1"}, true},
		{[]string{",,;;=,"}, false},
	} {
		if got := acceptsGzip(lines(tt.headers)); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.headers, got, tt.want)
		}
	}
}

func TestMatches(t *testing.T) {
	const etag = `"00ff"`
	for _, tt := range []struct {
		headers []string
		want    bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{`"00ff"`}, true},
		{[]string{`W/"00ff"`}, true},
		{[]string{`*`}, true},
		{[]string{` * `}, true},
		{[]string{`"1", "00ff"`}, true},
		{[]string{`"1","2",W/"00ff" , "3"`}, true},
		{[]string{`"1"`, `"00ff"`}, true},
		{[]string{`"a,b", "00ff"`}, true},
		{[]string{`"00f"`}, false},
		{[]string{`"00ff-gzip"`}, false},
		{[]string{`00ff`}, false},
		{[]string{`"00ff`}, false},
		{[]string{`"*"`}, false},
		{[]string{`junk, "00ff"`}, false},
		{[]string{`W/`, `,`, `"`}, false},
	} {
		if got := matches(lines(tt.headers), etag); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.headers, got, tt.want)
		}
	}
}
