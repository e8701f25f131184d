// Package testkit has what tests of several rooms need. Only tests import it.
package testkit

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// Eventually waits for a condition on something real: a socket, a process, an etcd. What the
// machine gives to others meanwhile does not count. In a synctest bubble, wait for the bubble
// instead.
func Eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	if holds() {
		return
	}
	pace := Paced(t)
	defer pace.Stop()
	for began := time.Now(); !holds(); {
		if pace.Since(began) > within {
			t.Fatalf("not within %v, nor %v on the clock: %s", within, time.Since(began), what)
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
