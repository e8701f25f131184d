package console

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
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
func (t *table) heads(names ...string) {
	var cells []cell
	t.right = make([]bool, len(names))
	for i, name := range names {
		name, t.right[i] = strings.CutPrefix(name, "+")
		cells = append(cells, cell{name, bold})
	}
	t.row(cells...)
}

// write appends the table to b. The last column has no end, so that long reasons need no space on other lines.
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
