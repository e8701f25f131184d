package etcd

import (
	"testing"

	"github.com/dynmesh/dynmesh/internal/text"
)

func FuzzDecodeJournal(f *testing.F) {
	f.Add([]byte(`{"by":"a\u001b","since":"2026-01-02T03:04:05Z","reason":"b\n\u202e","value":"{}"}`))
	f.Add([]byte(`{"value":"\ud800"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := decodeJournal(value)
		if err != nil {
			return
		}
		for _, said := range []string{e.By, e.Reason} {
			if text.Line(said, maxJournalReason) != said {
				t.Errorf("%q is no line of %d bytes at most", said, maxJournalReason)
			}
		}
		written, err := e.encode()
		if err != nil {
			return // a year beyond 9999
		}
		again, err := decodeJournal([]byte(written))
		if err != nil || again.Value != e.Value || again.By != e.By || again.Reason != e.Reason || !again.Since.Equal(e.Since) {
			t.Errorf("%+v came back as %+v (%v)", e, again, err)
		}
	})
}
