package engines

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// lookEvery is how often engine, worker and frontend are asked.
const lookEvery = 20 * time.Millisecond

// watch asks an engine, its worker and its frontend for their word, all the time, each on its own.
type watch struct {
	engine, worker, frontend *log
	pace                     *testkit.Pace
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
	w := &watch{pace: testkit.Paced(t)}
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
