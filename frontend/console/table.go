package console

import (
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

// table lines up cells in columns.
type table struct {
	style Style
	right []bool // by column: numbers stand right
	rows  [][]cell
}

// cell is one line of text in a way to write it.
type cell struct {
	text   string
	colour colour
}

func (t *table) row(cells ...cell) { t.rows = append(t.rows, cells) }

// heads adds a row of headings; a + before one says that its column's numbers stand right.
func (t *table) heads(observerNames ...string) {
	var cells []cell
	t.right = make([]bool, len(observerNames))
	for i, name := range observerNames {
		name, t.right[i] = strings.CutPrefix(name, "+")
		cells = append(cells, cell{name, bold})
	}
	t.row(cells...)
}

// write appends the table to b. The last column has no end, so that long reasons need no space on
// other lines.
func (t *table) write(b *strings.Builder) {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(c.text))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			space := strings.Repeat(" ", widths[i]-ansi.StringWidth(c.text))
			if t.right[i] {
				line.WriteString(space)
			}
			line.WriteString(t.style.paint(c.colour, c.text))
			if !t.right[i] && i < len(row)-1 {
				line.WriteString(space)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// Style says how to show things.
type Style struct {
	Color bool // the terminal takes colours, and wants them
	Wide  bool // instances that are ready too, and all that is known of each
}

// IsTerminal says whether what is written to out goes to people's eyes.
func IsTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(file.Fd())
}

// WantsColor says whether to write colours to out: on a terminal that has them, unless NO_COLOR is
// set (no-color.org).
func WantsColor(out io.Writer) bool {
	return IsTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// colour is a way to write text: the parameters of the terminal's SGR sequence.
type colour string

const (
	noColour colour = ""
	bold     colour = "1"
	dim      colour = "2"
	red      colour = "31"
	green    colour = "32"
	yellow   colour = "33"
	cyan     colour = "36"
)

func (s Style) paint(c colour, text string) string {
	if !s.Color || c == noColour || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
