package console

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func press(l *live, keys ...string) (quit bool) {
	for _, key := range keys {
		k := tea.Key{Text: key, Code: []rune(key)[0]}
		switch key {
		case "space":
			k = tea.Key{Text: " ", Code: tea.KeySpace}
		case "up":
			k = tea.Key{Code: tea.KeyUp}
		case "down":
			k = tea.Key{Code: tea.KeyDown}
		case "ctrl+c":
			k = tea.Key{Code: 'c', Mod: tea.ModCtrl}
		}
		_, cmd := l.Update(tea.KeyPressMsg(k))
		quit = cmd != nil
	}
	return quit
}

// The screen is never larger than the terminal, and what does not fit can be scrolled to.
func TestScreen(t *testing.T) {
	l := &live{now: now}
	l.Update(tea.WindowSizeMsg{Width: 60, Height: 8})
	if got := l.screen(); !strings.Contains(got, "Asking.") {
		t.Errorf("got %q", got)
	}
	s := snapshot(t, "fleet", "dyn://dynamo.decode.generate>=14")
	l.Update(answered{snapshot: s, at: now})
	all := l.body
	if text := strings.Join(strings.Fields(strings.Join(all, " ")), " "); !strings.Contains(text, "on host-1 since 2026-11-22T09:59:59.000Z (4s ago; refused: dial tcp 10.0.0.11:8888), this frontend since 2026-11-22T10:00:00.000Z") {
		t.Errorf("a reason is not whole: %s", text)
	}
	seen := map[string]bool{}
	for range all {
		lines := strings.Split(l.screen(), "\n")
		if len(lines) != 8 {
			t.Fatalf("got %d lines, want 8", len(lines))
		}
		for _, line := range lines {
			if w := ansi.StringWidth(line); w > 60 {
				t.Errorf("got %d columns: %q", w, line)
			}
			seen[line] = true
		}
		press(l, "down")
	}
	for _, line := range all {
		if !seen[line] {
			t.Errorf("never shown: %q", line)
		}
	}
	if l.offset != len(all)-6 {
		t.Errorf("got offset %d of %d lines", l.offset, len(all))
	}
	press(l, "g", "space", "up", "k", "b")
	if l.offset != 0 {
		t.Errorf("got offset %d, want the top", l.offset)
	}
	l.Update(tea.WindowSizeMsg{Width: 1, Height: 1})
	_ = l.screen()
	for _, key := range []string{"q", "ctrl+c"} {
		if !press(l, key) {
			t.Errorf("%s does not quit", key)
		}
	}
}

// While the frontend is away, what was known stays, and grows older.
func TestScreenWhileAway(t *testing.T) {
	l := &live{now: now}
	l.Update(tea.WindowSizeMsg{Width: 200, Height: 50})
	l.Update(answered{err: errors.New("ask x: connection refused"), at: now})
	l.Update(tick(now.Add(5 * time.Second)))
	if got := l.connection(); got != "10:00:08Z no answer for 5s, nothing was ever heard: ask x: connection refused" {
		t.Errorf("got %q", got)
	}
	s := snapshot(t, "fleet", "")
	l.Update(answered{snapshot: s, at: now})
	if got := l.connection(); got != "dynmesh status at 10:00:03Z" || !strings.Contains(l.screen(), "in flight and nothing has moved since 2026-11-22T09:56:00.000Z (4m03s ago)") {
		t.Errorf("got %q", got)
	}
	l.Update(answered{err: errors.New("a\x1b[2J"), at: now.Add(60 * time.Second)})
	l.Update(answered{err: errors.New("a\x1b[2J"), at: now.Add(120 * time.Second)})
	if got := l.connection(); got != "10:02:03Z no answer for 1m00s, what follows was so 2m00s ago: a?[2J" || !strings.Contains(l.screen(), "(6m03s ago)") {
		t.Errorf("got %q in\n%s", got, l.screen())
	}
	if l.seen.Err == nil || l.seen.Snapshot == nil {
		t.Errorf("got %+v, want the last snapshot and the error", l.seen)
	}
}

// A key ends it, and so does its context; also when the frontend hangs.
func TestLiveEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(key io.Writer, cancel func())
		ask  func(context.Context, Snapshot) (Snapshot, error)
	}{
		{"key", func(key io.Writer, _ func()) { _, _ = io.WriteString(key, "q") }, func(_ context.Context, s Snapshot) (Snapshot, error) { return s, nil }},
		{"context", func(_ io.Writer, cancel func()) { cancel() }, func(_ context.Context, s Snapshot) (Snapshot, error) { return s, nil }},
		{"key while it hangs", func(key io.Writer, _ func()) { _, _ = io.WriteString(key, "q") }, func(ctx context.Context, s Snapshot) (Snapshot, error) {
			<-ctx.Done()
			return s, ctx.Err()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			in, key := io.Pipe()
			defer func() { _ = key.Close() }()
			var out testkit.Buffer
			s := snapshot(t, "fleet", "")
			type end struct {
				seen Seen
				err  error
			}
			done := make(chan end, 1)
			go func() {
				seen, err := show(ctx, func(ctx context.Context) (Snapshot, error) { return tt.ask(ctx, s) }, Style{},
					tea.WithInput(in), tea.WithOutput(&out), tea.WithWindowSize(120, 40))
				done <- end{seen, err}
			}()
			hangs := strings.Contains(tt.name, "hangs")
			want := "5f0c3bd2a7e91b42"
			if hangs {
				want = "Asking."
			}
			testkit.Eventually(t, 20*time.Second, want, func() bool { return strings.Contains(out.String(), want) })
			tt.end(key, cancel)
			select {
			case got := <-done:
				if got.err != nil || got.seen.Err != nil || (got.seen.Snapshot == nil) != hangs {
					t.Errorf("got %+v", got)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}
