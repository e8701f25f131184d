package console

import (
	"io"
	"os"

	"github.com/charmbracelet/x/term"
)

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

// WantsColor says whether to write colours to out: on a terminal that has them, unless NO_COLOR is set (no-color.org).
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
