package testkit

import (
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// Gunzip returns what was compressed.
func Gunzip(t testing.TB, s string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
