package oncall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// listening is a client of /events that holds all that comes to the schemas.
type listening struct {
	cancel  context.CancelFunc
	done    chan struct{}
	changes int
	err     error
}

func (f *fleet) listen(t *testing.T, s schemas) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.frontends[0].url+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Do(request)
		if err != nil {
			l.err = err
			return
		}
		defer answer.Body.Close()
		l.read(answer.Body, s)
	}()
	t.Cleanup(func() { _, _ = l.stop() })
	return l
}

func (l *listening) read(stream io.Reader, s schemas) {
	of := map[string]string{"snapshot": "mesh.json", "change": "events-change.json", "resync": "events-resync.json"}
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 16<<20)
	event := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if event == "change" {
			l.changes++
		}
		if err := s.check(of[event], data); err != nil {
			l.err = errors.Join(l.err, fmt.Errorf("event %s: %w", event, err))
		}
	}
}

// stop returns how many changes there were, and what was wrong with any of it.
func (l *listening) stop() (changes int, err error) {
	l.cancel()
	<-l.done
	return l.changes, l.err
}
