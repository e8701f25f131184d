package engines

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// lookEvery is how often engine, worker and frontend are asked.
const lookEvery = 20 * time.Millisecond

// watch asks an engine, its worker and its frontend for their word, all the time, each on its own.
type watch struct {
	engine, worker, frontend *log
	late                     *lateness
	stop                     func()
}

// log is what one of them said, and when it began to say so.
type log struct {
	mu   sync.Mutex
	said []said
}

type said struct {
	at   time.Time
	word string
}

func (s *sidecar) watch(t *testing.T) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{late: &lateness{}}
	var all sync.WaitGroup
	follow := func(say func(ctx context.Context, client *http.Client) string) *log {
		l := &log{}
		all.Go(func() {
			client := newAsker()
			ticks := time.NewTicker(lookEvery)
			defer ticks.Stop()
			for ctx.Err() == nil {
				l.add(say(ctx, client))
				<-ticks.C
			}
		})
		return l
	}
	w.engine, w.worker, w.frontend = follow(s.engine.says), follow(s.workerSays), follow(s.frontendSays)
	all.Go(func() { w.late.measure(ctx) })
	w.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(w.stop)
	return w
}

func (l *log) add(word string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.said); word != "canceled" && (n == 0 || l.said[n-1].word != word) {
		l.said = append(l.said, said{time.Now(), word})
	}
}

// after returns when it first said, after a moment, what is asked for; ok is false if it did not
// yet.
func (l *log) after(moment time.Time, is func(word string) bool) (after time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.said {
		if s.at.After(moment) && is(s.word) {
			return s.at.Sub(moment), true
		}
	}
	return 0, false
}

// String is all that was said.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i, s := range l.said {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", s.at.Format("05.000"), s.word)
	}
	return b.String()
}

// since is after as a cell of a table, with what was said.
func (l *log) since(moment time.Time, is func(word string) bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := ""
	for _, s := range l.said {
		if s.at.After(moment) && is(s.word) {
			return fmt.Sprintf("%s after %.2f s", s.word, s.at.Sub(moment).Seconds())
		}
		last = s.word
	}
	return last + " throughout"
}

func isNotWell(word string) bool  { return word != "200" }
func isReady(word string) bool    { return strings.HasPrefix(word, "ready") }
func isNotReady(word string) bool { return word == "notready" || word == "unreachable" }

// lateness is by how much this machine lets a process wait that wants to run now. What takes a
// hundred such moments takes a hundred times as long on a machine that is full.
type lateness struct {
	mu    sync.Mutex
	worst time.Duration
}

const tick = 10 * time.Millisecond

func (l *lateness) measure(ctx context.Context) {
	for next := time.Now(); ctx.Err() == nil; {
		next = next.Add(tick)
		<-time.After(time.Until(next))
		late := time.Since(next)
		if late > tick {
			next = time.Now() // it is counted once
		}
		l.mu.Lock()
		l.worst = max(l.worst, late)
		l.mu.Unlock()
	}
}

// reset returns the worst so far, and begins anew.
func (l *lateness) reset() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := l.worst
	l.worst = 0
	return worst
}
