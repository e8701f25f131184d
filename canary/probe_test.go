package canary

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

func TestFrozenIsNotJustLate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		chunks []time.Duration // when each comes
		want   dynmesh.Reason
	}{
		{"nothing came", nil, dynmesh.ReasonTimeout},
		{"the first, then nothing", []time.Duration{time.Second}, dynmesh.ReasonFrozen},
		{"the first came late", []time.Duration{2900 * time.Millisecond}, dynmesh.ReasonTimeout},
		{"chunks trickle to the end", []time.Duration{1 * time.Second, 2 * time.Second, 2500 * time.Millisecond}, dynmesh.ReasonTimeout},
		{"chunks stop", []time.Duration{1 * time.Second, 2 * time.Second}, dynmesh.ReasonFrozen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begun := time.Now()
				r := Check(ctx, func(ctx context.Context) error {
					for _, at := range tt.chunks {
						time.Sleep(time.Until(begun.Add(at)))
						recorderOf(ctx).note([]byte("x"))
					}
					<-ctx.Done()
					return ctx.Err()
				})
				if reason(r) != tt.want {
					t.Errorf("got %v, want %v", r.Failure, tt.want)
				}
				if r.Chunks != len(tt.chunks) || r.Total != 3*time.Second {
					t.Errorf("got %d chunks in %v, want %d in 3s", r.Chunks, r.Total, len(tt.chunks))
				}
				if len(tt.chunks) > 0 && r.FirstChunk != tt.chunks[0] {
					t.Errorf("got the first chunk after %v, want %v", r.FirstChunk, tt.chunks[0])
				}
			})
		})
	}
}

// What is kept of an answer may end within a key that the engine quotes. Its beginning is a secret.
func TestSampleHasNoBeginningOfAKey(t *testing.T) {
	const key = "SECRET-KEY-0123456789"
	for before := dynmesh.MaxDetail - len(key) - 2; before <= dynmesh.MaxDetail+2; before++ {
		for _, chunks := range [][]string{
			{strings.Repeat("x", before) + key + "x"},
			{strings.Repeat("x", before/2), strings.Repeat("x", before-before/2) + key + "x", "y"},
		} {
			r := Check(t.Context(), func(ctx context.Context) error {
				rec := recorderOf(ctx)
				rec.redact(text.Secrets{key})
				for _, chunk := range chunks {
					rec.note([]byte(chunk))
				}
				return nil
			})
			if strings.Contains(r.Sample, key[:4]) {
				t.Errorf("%d chunks, the key after %d bytes: the sample is %q", len(chunks), before, r.Sample)
			}
		}
	}
}
