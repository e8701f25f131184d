package console

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// askEvery is the time between an answer and the next question. Frontends do not send again what has not changed.
const askEvery = time.Second

// Seen is what a live view showed last.
type Seen struct {
	Snapshot *Snapshot // nil: no answer has ever come
	Err      error     // why the last question had no answer; nil: it had one
}

// Live shows on the terminal out what ask returns, again and again, until the user quits by a key on in or ctx ends. What it
// starts has ended when it returns. The error is the terminal's.
func Live(ctx context.Context, in io.Reader, out io.Writer, ask func(context.Context) (Snapshot, error), style Style) (Seen, error) {
	return show(ctx, ask, style, tea.WithInput(in), tea.WithOutput(out))
}

func show(ctx context.Context, ask func(context.Context) (Snapshot, error), style Style, options ...tea.ProgramOption) (Seen, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &live{style: style, now: time.Now()}
	// Signals are the caller's business, and end ctx.
	p := tea.NewProgram(m, append(options, tea.WithoutSignalHandler())...)
	var parts sync.WaitGroup
	parts.Go(func() {
		for ctx.Err() == nil {
			s, err := ask(ctx)
			if ctx.Err() != nil {
				return
			}
			p.Send(asked{s, err, time.Now()})
			wait(ctx, askEvery)
		}
	})
	parts.Go(func() {
		for wait(ctx, time.Second) { // ages go on while a question is open
			p.Send(tick(time.Now()))
		}
		p.Quit()
	})
	_, err := p.Run()
	cancel()
	parts.Wait()
	if err != nil {
		return m.seen, fmt.Errorf("show on the terminal: %w", err)
	}
	return m.seen, nil
}

// wait says whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// What the program is told.
type (
	asked struct {
		snapshot Snapshot
		err      error
		at       time.Time
	}
	tick time.Time
)
