package console

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// askEvery is the time between an answer and the next question. Frontends do not send again what
// has not changed.
const askEvery = time.Second

// Seen is what a live view showed last.
type Seen struct {
	Snapshot *Snapshot // nil: no answer has ever come
	Err      error     // why the last question had no answer; nil: it had one
}

// Live shows on the terminal out what ask returns, again and again, until the user quits by a key
// on in or ctx ends. What it starts has ended when it returns. The error is the terminal's.
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
			p.Send(answered{s, err, time.Now()})
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
	answered struct {
		snapshot Snapshot
		err      error
		at       time.Time
	}
	tick time.Time
)

// live is the state of a live view. Only the program's own goroutine touches it while the program
// runs.
type live struct {
	style         Style
	seen          Seen
	lostAt        time.Time // since when no answer has come
	now           time.Time // by our clock
	width, height int       // of the terminal; 0: not known yet
	body          []string  // what scrolls, as lines that fit
	offset        int       // lines of it that are scrolled out above
}

// Init implements tea.Model.
func (*live) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (l *live) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		l.width, l.height = msg.Width, msg.Height
		l.body = l.lines()
	case tick:
		l.now = time.Time(msg)
		l.body = l.lines()
	case answered:
		l.store(msg)
		l.body = l.lines()
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return l, tea.Quit
		case "up", "k":
			l.offset--
		case "down", "j":
			l.offset++
		case "pgup", "b":
			l.offset -= l.visibleLines()
		case "pgdown", "space", "f":
			l.offset += l.visibleLines()
		case "home", "g":
			l.offset = 0
		case "end", "G":
			l.offset = len(l.body)
		}
	}
	l.offset = max(0, min(l.offset, len(l.body)-l.visibleLines()))
	return l, nil
}

func (l *live) store(a answered) {
	l.now = a.at
	if a.err == nil {
		l.seen = Seen{Snapshot: &a.snapshot}
		return
	}
	if l.seen.Err == nil {
		l.lostAt = a.at
	}
	l.seen.Err = a.err
}

// visibleLines is how many lines there are for what scrolls.
func (l *live) visibleLines() int { return max(1, l.height-1-len(l.wrap(l.connection()))) }

// lines is what scrolls.
func (l *live) lines() []string {
	if l.seen.Snapshot == nil {
		return []string{"Asking."}
	}
	s := *l.seen.Snapshot
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(Status(s, s.Now(l.now), l.style), "\n"), "\n") {
		lines = append(lines, l.wrap(line)...)
	}
	return lines
}

// wrap breaks a line that is longer than the terminal is wide: reasons stand at the end of theirs.
func (l *live) wrap(line string) []string {
	const indent = "    "
	const firm = "\u2011" // a hyphen at which nothing breaks: half a time or half a host's name is no use to anybody
	if l.width < 40 || ansi.StringWidth(line) <= l.width {
		return []string{line} // and on a terminal for ants the rest is cut off
	}
	line = ansi.Wrap(strings.ReplaceAll(line, "-", firm), l.width-len(indent), "")
	return strings.Split(strings.NewReplacer(firm, "-", "\n", "\n"+indent).Replace(line), "\n")
}

// View implements tea.Model.
func (l *live) View() tea.View {
	v := tea.NewView(l.screen())
	v.AltScreen = true
	return v
}

// screen is all that the terminal shows: a word on the connection, what scrolls, and a line of
// help.
func (l *live) screen() string {
	first := min(l.offset, len(l.body))
	last := min(first+l.visibleLines(), len(l.body))
	shown := append(l.wrap(l.connection()), l.body[first:last]...)
	for len(shown) < l.height-1 {
		shown = append(shown, "")
	}
	help := "q quits"
	if last-first < len(l.body) {
		help = fmt.Sprintf("lines %d to %d of %d; arrows and space scroll, q quits", first+1, last, len(l.body))
	}
	shown = append(shown, l.style.paint(dim, help))
	shown = shown[max(0, len(shown)-max(1, l.height)):]
	for i, line := range shown {
		if l.width > 0 {
			shown[i] = ansi.Truncate(line, l.width, "…")
		}
	}
	return strings.Join(shown, "\n")
}

func (l *live) connection() string {
	at := l.now.UTC().Format("15:04:05Z")
	if l.seen.Err == nil {
		return l.style.paint(dim, "dynmesh status at "+at)
	}
	what := "nothing was ever heard"
	if l.seen.Snapshot != nil {
		what = "what follows was so " + age(l.seen.Snapshot.Asked, l.now)
	}
	return l.style.paint(red, fmt.Sprintf("%s no answer for %s, %s: %s", at, since(l.lostAt, l.now), what, plain.Text(l.seen.Err.Error(), maxReason)))
}
