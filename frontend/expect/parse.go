package expect

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
)

// Bounds of what Parse takes.
const (
	maxText  = 64 << 10 // bytes
	maxItems = 256
	maxModel = 256 // characters of a model's name and role
)

const (
	example      = scheme + "namespace.component.endpoint>=1"
	modelExample = model + "name/role>=1"
)

// Parse reads one expectation or several; package expect's documentation has the grammar. Its error
// is a *SyntaxError.
func Parse(text string) ([]Expectation, error) {
	p := &parser{text: text}
	if len(text) > maxText {
		p.at = maxText
		return nil, p.want("at most %d bytes", maxText)
	}
	var all []Expectation
	for {
		p.skip(" \t\r\n,")
		if p.at == len(text) && len(all) > 0 {
			return all, nil
		}
		if len(all) == maxItems {
			return nil, p.want("at most %d expectations", maxItems)
		}
		e, err := p.expectation()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

// parser is a place in a text.
type parser struct {
	text string
	at   int
}

func (p *parser) want(format string, args ...any) error {
	return &SyntaxError{Text: p.text, At: p.at, Want: fmt.Sprintf(format, args...)}
}

func (p *parser) remaining() string { return p.text[p.at:] }

func (p *parser) skip(set string) {
	p.at = len(p.text) - len(strings.TrimLeft(p.remaining(), set))
}

// consume goes past word, or to where the text departs from it.
func (p *parser) consume(word string) bool {
	for i := range len(word) {
		if p.at == len(p.text) || p.text[p.at] != word[i] {
			return false
		}
		p.at++
	}
	return true
}

func (p *parser) expectation() (Expectation, error) {
	var e Expectation
	if strings.HasPrefix(p.remaining(), model) {
		return p.model()
	}
	if !p.consume(scheme) {
		return e, p.want("%s, or %s", example, modelExample)
	}
	begin := p.at
	for i, name := range []string{"namespace", "component", "endpoint"} {
		if i > 0 && !p.consume(".") {
			return e, p.want(". and the %s: a name has three parts", name)
		}
		if err := p.part(name); err != nil {
			return e, err
		}
	}
	e.Endpoint = scheme + p.text[begin:p.at]
	p.skip(" \t")
	switch {
	case strings.HasPrefix(p.remaining(), "."):
		return e, p.want(">= and how many: a name has three parts")
	case strings.HasPrefix(p.remaining(), "{"):
		return e, p.want(">= and how many; {verified} comes after that")
	case !p.consume(">="):
		return e, p.want(">= and how many")
	}
	p.skip(" \t")
	return e, p.count(&e)
}

// model reads an expectation of a model.
func (p *parser) model() (Expectation, error) {
	var e Expectation
	begin := p.at
	p.at += len(model)
	name := p.at
	for p.at < len(p.text) && isModelByte(p.text[p.at]) {
		if p.at-name == maxModel {
			return e, p.want("a model's name of at most %d characters", maxModel)
		}
		p.at++
	}
	if p.at == name {
		return e, p.want("the model's name, and maybe / and %s", strings.Join(roles(), ", "))
	}
	e.Endpoint = p.text[begin:p.at]
	p.skip(" \t")
	if !p.consume(">=") {
		return e, p.want(">= and how many")
	}
	p.skip(" \t")
	return e, p.count(&e)
}

// isModelByte says whether a model's name may have it: names of models have slashes, colons and
// more, but no spaces.
func isModelByte(c byte) bool {
	return c > ' ' && c <= '~' && !strings.ContainsRune(`,>={}"`, rune(c))
}

// part goes past one part of a name.
func (p *parser) part(what string) error {
	begin := p.at
	for isNameByte(p.remaining()) || strings.HasPrefix(p.remaining(), wild) {
		if p.at-begin == dynmesh.MaxNameLength {
			return p.want("%s of at most %d characters", what, dynmesh.MaxNameLength)
		}
		p.at++
	}
	if p.at == begin {
		return p.want("the %s: A-Z a-z 0-9 _ -, and * for any of them", what)
	}
	return nil
}

// count reads how many, and the suffix, up to where the next expectation may begin.
func (p *parser) count(e *Expectation) error {
	begin := p.at
	p.skip("0123456789")
	if p.at == begin {
		return p.want("a whole number, 0 to %d", MaxCount)
	}
	n, err := strconv.Atoi(p.text[begin:p.at])
	if err != nil || n > MaxCount {
		p.at = begin
		return p.want("a whole number, 0 to %d", MaxCount)
	}
	e.Want = n
	p.skip(" \t")
	if strings.HasPrefix(p.remaining(), "{") {
		if e.Verified = p.consume(verified); !e.Verified {
			return p.want("%s", verified)
		}
		p.skip(" \t")
	}
	if p.at < len(p.text) && !strings.ContainsRune(",\r\n", rune(p.text[p.at])) {
		if e.Verified {
			return p.want("a comma or the end")
		}
		return p.want("a comma, %s or the end", verified)
	}
	return nil
}

func isNameByte(s string) bool {
	if s == "" {
		return false
	}
	switch c := s[0]; {
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
		return true
	}
	return false
}

// A SyntaxError says where a text stops being expectations, and what could stand there.
type SyntaxError struct {
	Text string // as it was given
	At   int    // bytes before the place, 0 to len(Text)
	Want string // what could stand there
}

// maxQuoted is how much of a text an error repeats, in characters, from the place on.
const maxQuoted = 24

// Error is one line of plain ASCII: at character 10, ">=1": want . and the endpoint: ….
func (e *SyntaxError) Error() string {
	if e.At == len(e.Text) {
		if strings.TrimSpace(e.Text) == "" {
			return "want " + e.Want
		}
		return "at its end: want " + e.Want
	}
	rest := e.Text[e.At:]
	quoted, characters := rest, 0
	for i := range rest {
		if characters == maxQuoted {
			quoted = rest[:i] + "..."
			break
		}
		characters++
	}
	return fmt.Sprintf("at character %d, %+q: want %s", utf8.RuneCountInString(e.Text[:e.At])+1, quoted, e.Want)
}
