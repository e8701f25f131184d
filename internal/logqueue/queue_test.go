package logqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// valve is a writer that can be shut, as a pipe is that nobody reads, and that can fail, as a full
// disk does.
type valve struct {
	mu   sync.Mutex
	open *sync.Cond
	shut bool
	err  error
	part int // how much of a write gets through that fails
	got  bytes.Buffer
}

func newValve() *valve {
	v := &valve{}
	v.open = sync.NewCond(&v.mu)
	return v
}

func (v *valve) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.shut {
		v.open.Wait()
	}
	if v.err != nil {
		n, _ := v.got.Write(p[:v.part])
		return n, v.err
	}
	return v.got.Write(p)
}

func (v *valve) set(shut bool, err error, part int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut, v.err, v.part = shut, err, part
	v.open.Broadcast()
}

// take returns what has been written since it was called last.
func (v *valve) take() string {
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	text := v.got.String()
	v.got.Reset()
	return text
}

func notice(n uint64, since time.Time) []byte {
	return fmt.Appendf(nil, "%d lines dropped since %s\n", n, since.UTC().Format(time.TimeOnly))
}

func say(t *testing.T, q *Queue, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if n, err := io.WriteString(q, line+"\n"); n != len(line)+1 || err != nil {
			t.Errorf("Write(%q) = %d, %v, want all of it", line, n, err)
		}
	}
}

func TestLinesComeOutInOrder(t *testing.T) {
	var out bytes.Buffer
	q := New(&out, Config{})
	var want strings.Builder
	line := []byte("line 0000\n")
	for i := range 5000 {
		copy(line, fmt.Sprintf("line %04d", i))
		want.Write(line)
		if n, err := q.Write(line); n != len(line) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if err := q.Close(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() || q.Dropped() != 0 {
		t.Errorf("%d bytes came out, %d lines dropped, want the %d bytes that went in", out.Len(), q.Dropped(), want.Len())
	}
}

// A pipe that nobody reads: Write does not wait, and where lines are missing is said at their
// place, once.
func TestBlocked(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"bounded by lines", Config{Lines: 2}},
		{"bounded by bytes", Config{Bytes: 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newValve()
				tt.cfg.Notice = notice
				q := New(v, tt.cfg)
				v.set(true, nil, 0)
				say(t, q, "0")
				synctest.Wait() // the writer has it, and is stuck
				say(t, q, "1", "2", "3")
				time.Sleep(time.Second)
				say(t, q, "4")
				if n := q.Dropped(); n != 2 {
					t.Errorf("%d dropped, want 2", n)
				}
				v.set(false, nil, 0)
				if got, want := v.take(), "0\n1\n2\n2 lines dropped since 00:00:00\n"; got != want {
					t.Errorf("got %q, want %q: the gap is said without a further line", got, want)
				}
				say(t, q, "5")
				if got, want := v.take(), "5\n"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if err := q.Close(time.Second); err != nil || q.Dropped() != 2 {
					t.Errorf("Close = %v, then %d dropped, want nil and 2", err, q.Dropped())
				}
			})
		})
	}
}

// A gap stands before the first line that there was room for again.
func TestGapStandsInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		q := New(v, Config{Bytes: 6, Notice: notice})
		v.set(true, nil, 0)
		say(t, q, "0")
		synctest.Wait()
		say(t, q, "aa", "too long", "b", "c")
		v.set(false, nil, 0)
		if got, want := v.take(), "0\naa\n1 lines dropped since 00:00:00\nb\n1 lines dropped since 00:00:00\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = q.Close(time.Second)
	})
}

// A full disk: each line is tried, and the first that can be written again says how many could not.
func TestFailing(t *testing.T) {
	for _, tt := range []struct {
		part int
		want string
	}{
		{0, "2 lines dropped since 00:00:01\nc\n"},
		{1, "a\n2 lines dropped since 00:00:01\nc\n"}, // what is half written does not run into what follows
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newValve()
			q := New(v, Config{Notice: notice})
			time.Sleep(time.Second)
			v.set(false, errors.New("disk full"), tt.part)
			say(t, q, "a")
			synctest.Wait()
			time.Sleep(time.Second)
			v.set(false, errors.New("disk full"), 0)
			say(t, q, "b")
			synctest.Wait()
			if n := q.Dropped(); n != 2 {
				t.Errorf("%d dropped, want 2", n)
			}
			v.set(false, nil, 0)
			say(t, q, "c")
			if got := v.take(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err := q.Close(time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// A line that is larger than the queue is told of, though none follows it.
func TestLineThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		q := New(v, Config{Bytes: 4, Notice: notice})
		time.Sleep(time.Second)
		synctest.Wait() // the writer waits for a line
		say(t, q, "too long")
		synctest.Wait()
		if got, want := v.take(), "1 lines dropped since 00:00:01\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := q.Close(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// Nothing ends a write that blocks, so Close does not wait for it longer than it was told to.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.set(true, nil, 0)
		q := New(v, Config{Notice: notice})
		say(t, q, "0", "1")
		began := time.Now()
		if err := q.Close(time.Second); !errors.Is(err, ErrUnwritten) || time.Since(began) != time.Second {
			t.Errorf("Close = %v after %v, want %v after 1s", err, time.Since(began), ErrUnwritten)
		}
		say(t, q, "late")
		if q.Dropped() != 1 {
			t.Errorf("%d dropped, want the one after Close", q.Dropped())
		}
		v.set(false, nil, 0)
		if got, want := v.take(), "0\n1\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// What came out, and what the notices own up to, is all that went in, whoever wrote and however the
// reader behaved.
func TestNothingIsLostUnsaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		missing := uint64(0) // written by the queue's goroutine, read when that has ended
		q := New(v, Config{Lines: 16, Notice: func(n uint64, _ time.Time) []byte { missing += n; return []byte("gap\n") }})
		var writers sync.WaitGroup
		const each, all = 1000, 4
		for range all {
			writers.Go(func() {
				for range each {
					say(t, q, "line")
				}
			})
		}
		for i := range 100 {
			v.set(i%2 == 0, nil, 0)
			time.Sleep(time.Microsecond)
		}
		v.set(false, nil, 0)
		writers.Wait()
		if err := q.Close(time.Second); err != nil {
			t.Fatal(err)
		}
		got := uint64(strings.Count(v.take(), "line\n"))
		if got+q.Dropped() != each*all || missing != q.Dropped() {
			t.Errorf("%d lines came out, %d are counted as dropped, %d said to be: want %d in all", got, q.Dropped(), missing, each*all)
		}
	})
}
