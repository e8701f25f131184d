package sidecar

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/dynmesh/dynmesh/internal/sse"
)

const (
	maxExposition = 16 << 20 // bytes of all counters; vLLM has some hundred kilobytes
	maxSample     = 64 << 10 // bytes of one line
)

// totals is one reading of an engine's counters.
type totals [quantities]float64

var errNoCounters = errors.New("none of the engine's counters is there")

// read adds up the counters of a text in Prometheus's exposition format. Of the thousand and more lines that engines
// have, ten are of interest, and it looks at no more of the others than their name; prometheus/common's parser makes
// objects of all of them, every second.
func (x index) read(r io.Reader) (totals, error) {
	lines := sse.NewLines(r, maxSample, maxExposition)
	var sum totals
	found := false
	for {
		line, err := lines.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return totals{}, err
		}
		found = x.add(&sum, line) || found
		if err != nil {
			break
		}
	}
	if !found {
		return totals{}, errNoCounters
	}
	return sum, nil
}

// add takes in one line, and says whether its name is in the table. A line that cannot be read is not counted.
func (x index) add(sum *totals, line []byte) bool {
	end := bytes.IndexAny(line, "{ \t")
	if end <= 0 {
		return false
	}
	wanted, ok := x[string(line[:end])]
	if !ok {
		return false
	}
	labels, rest, ok := cutLabels(line[end:])
	fields := bytes.Fields(rest) // a value, and perhaps a time
	if !ok || len(fields) == 0 {
		return false
	}
	v, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 1<<53 {
		return false
	}
	for _, s := range wanted {
		if s.label == "" || slices.Contains(s.values, labelOf(labels, s.label)) != s.except {
			sum[s.what] += v
		}
	}
	return true
}

// cutLabels splits what follows a name into what is between the braces, and the rest.
func cutLabels(b []byte) (labels, rest []byte, ok bool) {
	if b[0] != '{' {
		return nil, b, true
	}
	quoted := false
	for i := 1; i < len(b); i++ {
		switch {
		case quoted && b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == '}' && !quoted:
			return b[1:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// labelOf returns a label's value, "" where there is none.
func labelOf(labels []byte, name string) string {
	for len(labels) > 0 {
		key, rest, _ := bytes.Cut(labels, []byte(`="`))
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(rest))
		if string(bytes.Trim(key, ", \t")) == name {
			return unescape(rest[:end])
		}
		labels = rest[min(end+1, len(rest)):]
	}
	return ""
}

func unescape(b []byte) string {
	if !bytes.ContainsRune(b, '\\') {
		return string(b)
	}
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			if i++; b[i] == 'n' {
				out = append(out, '\n')
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}
