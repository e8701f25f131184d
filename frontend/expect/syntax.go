package expect

import "strings"

// window is how much of a text a SyntaxError shows, in columns: a line longer than the terminal would wrap, and the caret
// would stand under something else.
const window = 72

// A SyntaxError says where a text stops being expectations, and what could stand there.
type SyntaxError struct {
	Text string // as it was given
	At   int    // bytes before the place, 0 to len(Text)
	Want string // what could stand there
}

// Error is three lines: what was expected, the text, and a caret under the place. The text is cut around the place where it
// is long, and whatever is not plain ASCII is shown as a question mark, so that each character takes one column.
func (e *SyntaxError) Error() string {
	var shown strings.Builder
	column := 0
	for i, r := range e.Text {
		if i < e.At {
			column++
		}
		switch {
		case r == '\t', r == '\r', r == '\n':
			r = ' '
		case r < ' ', r > '~':
			r = '?'
		}
		shown.WriteRune(r)
	}
	line := shown.String()
	if from := column - window*3/4; from > 0 && len(line) > window {
		from = min(from, len(line)-window)
		line = "..." + line[from+3:]
		column -= from
	}
	if len(line) > window {
		line = line[:window-3] + "..."
	}
	return "want " + e.Want + "\n  " + line + "\n  " + strings.Repeat(" ", column) + "^"
}
