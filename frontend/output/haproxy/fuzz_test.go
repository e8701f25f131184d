package haproxy

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
)

func FuzzQuestion(f *testing.F) {
	f.Add([]byte("dyn://a.b.c 10.0.0.1:80\n"))
	f.Add([]byte("  a\tb\r\nc"))
	f.Add(bytes.Repeat([]byte("x"), 2*maxQuestion))
	f.Fuzz(func(t *testing.T, b []byte) {
		asked, ok := question(bytes.NewReader(b))
		slowly, slowlyOK := question(iotest.OneByteReader(bytes.NewReader(b)))
		if asked != slowly || ok != slowlyOK {
			t.Errorf("at once %q, %v; byte by byte %q, %v", asked, ok, slowly, slowlyOK)
		}
		if ok != (asked != "") || len(asked) > maxQuestion || strings.ContainsAny(asked, "\n\t\r") {
			t.Errorf("asked %q, %v", asked, ok)
		}
	})
}
