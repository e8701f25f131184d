// Package testkit has what tests of several rooms need. Only tests import it.
package testkit

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// Eventually waits for a condition on something real: a socket, a process, an etcd. Nothing is
// timed by it. In a synctest bubble, wait for the bubble instead.
func Eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Log returns a logger of all levels and what it writes.
func Log() (*logrus.Entry, *Buffer) {
	var out Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetLevel(logrus.TraceLevel)
	return logrus.NewEntry(log), &out
}
