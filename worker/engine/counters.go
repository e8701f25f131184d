package engine

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/internal/sse"
)

// Counters says where an engine has its Prometheus counters, and which of them tell what.
type Counters struct {
	Port   string // "" is the engine's own
	Path   string // with a query, where one is wanted; {model} stands for the model's name, escaped. Empty: there are none
	Series []Series

	Hint     string // what to do where they are not there
	Optional bool   // many have none, and nobody misses them
	Wakes    bool   // to read them wakes the engine, or keeps it awake

	// Every is the least time between two readings beside requests, after whose end there is none;
	// 0: any. llama.cpp looks whether the client of a request without a stream is still there when
	// nothing has ended for a second, and a reading is something that ends.
	Every time.Duration

	// Rank is the label that tells apart the engines behind one server, as data parallelism has them;
	// "" where none does.
	Rank string

	// Stepwise: the engine sets its gauges when its scheduler takes a step, and an idle one takes
	// none. So they show the last step's requests for ever, or for half a minute with SGLang.
	//
	// When nothing moves, they are doubtful: canaries go out, and one that is late may have stood
	// in line behind a long step. No counter shows the step that an idle engine begins with, until
	// its end. Where steps are longer than a canary's timeout (prefills that are not chunked), the
	// traffic should pass through the proxy.
	Stepwise bool
}

// Series is one name of the table. Its samples are added up, whatever their labels, but for those
// of one label.
type Series struct {
	Counts Quantity
	Name   string
	Label  string   // "" takes all samples
	Values []string // of the label, that count; {model} stands for the model's name
	Except bool     // Values are those that do not count

	InPrefill bool // of Steps and Gauge: it moves with each chunk of a prompt that is read in chunks
}

// Quantity is what a series counts.
type Quantity uint8

// The quantities.
const (
	InFlight  Quantity = iota // gauge: requests under way, waiting ones included
	Queued                    // gauge: the same seen from elsewhere; the larger of the two is right
	Tokens                    // counter: work that is done for requests
	Steps                     // counter: the engine's iterations, whatever they bring
	Gauge                     // gauge that only a step of the engine can change
	Completed                 // counter: requests that ended well
	Aborted                   // counter: requests that ended otherwise, by no fault of the engine
	Failed                    // counter: requests that the engine failed
	Corrupted                 // counter: requests whose logits were no numbers

	// What follows tells how fast it is. Whether it moves is seen above.
	TokenCount   // counter: times between tokens that are in the next one
	TokenSeconds // counter: of all times between the tokens of an answer
	FirstCount   // counter: times to an answer's first token that are in the next one
	FirstSeconds // counter: of all of these
	PromptTokens // counter: of requests whose answers began
	quantities
)

// Totals are an engine's counters at one moment, by quantity.
type Totals [quantities]float64

// Scrape is what an engine says of its counters at one moment.
type Scrape struct {
	Totals

	// StepsInPrefill: some of the counters of steps that are there move with each chunk of a
	// prompt. Versions of an engine differ.
	StepsInPrefill bool

	// Ranks are the totals of each engine behind the server, by its label; nil where there are less
	// than two.
	Ranks map[string]Totals
}

// Stepped says whether the engine has moved between two scrapes, in whichever order they were
// taken. One that began again has. Aborted and Failed do not tell: servers count them by
// themselves, also before an engine that hangs.
func (t Totals) Stepped(other Totals) bool {
	for _, q := range []Quantity{Tokens, Steps, Gauge, Completed} {
		if t[q] != other[q] {
			return true
		}
	}
	return false
}

// URL is where the counters of the engine at root are by default.
func (c Counters) URL(root *url.URL, model string) string {
	if c.Port == "" {
		return kind.URL(root, strings.ReplaceAll(c.Path, "{model}", url.QueryEscape(model)))
	}
	host := net.JoinHostPort(root.Hostname(), c.Port)
	return (&url.URL{Scheme: root.Scheme, User: root.User, Host: host, Path: c.Path}).String()
}

const (
	maxExposition = 16 << 20 // bytes of all counters; vLLM has some hundred kilobytes
	maxSample     = 64 << 10 // bytes of one line
	maxSamples    = 10_000   // that are of interest: a thousand models' of Triton; 0.1 s of work
	maxCount      = 1 << 53  // beyond it a float64 does not count by ones
)

var (
	errNoCounters = errors.New("none of the engine's counters is there")
	errTooMany    = errors.New("too many samples of the engine's counters")
)

// Reader adds up the counters of one model. Make it with [Counters.Reader].
type Reader struct {
	wanted map[string][]Series // by name
	rank   string              // label
}

// Reader returns a reader of the counters that concern a model.
func (c Counters) Reader(model string) Reader {
	r := Reader{wanted: map[string][]Series{}, rank: c.Rank}
	for _, s := range c.Series {
		s.Values = slices.Clone(s.Values)
		for i := range s.Values {
			s.Values[i] = strings.ReplaceAll(s.Values[i], "{model}", model)
		}
		r.wanted[s.Name] = append(r.wanted[s.Name], s)
	}
	return r
}

// Read adds up the counters of a text in one of Prometheus's formats for text (0.0.4, OpenMetrics).
// A line that cannot be read is not counted.
//
// Of the thousand and more lines that engines have, ten are of interest. Prometheus's parser gets
// those alone, one by one: it would make objects of all, every second, and stops at the first that
// is wrong.
func (r Reader) Read(text io.Reader) (Scrape, error) {
	lines := sse.NewLines(text, maxSample, maxExposition)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	sum := Scrape{Ranks: map[string]Totals{}}
	found, samples := false, 0
	for {
		line, err := lines.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return Scrape{}, err
		}
		if series, ok := r.wanted[string(nameOf(line))]; ok {
			if samples++; samples > maxSamples {
				return Scrape{}, errTooMany
			}
			found = r.add(&sum, &parser, series, line) || found
		}
		if err != nil {
			break
		}
	}
	if !found {
		return Scrape{}, errNoCounters
	}
	if len(sum.Ranks) < 2 {
		sum.Ranks = nil
	}
	return sum, nil
}

// add adds the sample of a line, and says whether it could be read.
func (r Reader) add(sum *Scrape, parser *expfmt.TextParser, series []Series, line []byte) bool {
	sample, ok := sampleOf(line)
	if !ok {
		return false
	}
	families, err := parser.TextToMetricFamilies(bytes.NewReader(append(bytes.Clone(sample), '\n')))
	if err != nil {
		return false
	}
	read := false
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			v := metric.GetUntyped().GetValue()
			if math.IsNaN(v) || v < 0 || v > maxCount {
				continue
			}
			read = true
			value := func(name string) (value string) {
				for _, label := range metric.GetLabel() {
					if label.GetName() == name {
						value = label.GetValue()
					}
				}
				return value
			}
			for _, s := range series {
				if s.Label == "" || slices.Contains(s.Values, value(s.Label)) != s.Except {
					sum.Totals[s.Counts] += v
					if rank := value(r.rank); isRank(rank) {
						of := sum.Ranks[rank]
						of[s.Counts] += v
						sum.Ranks[rank] = of
					}
					sum.StepsInPrefill = sum.StepsInPrefill || s.InPrefill
				}
			}
		}
	}
	return read
}

// isRank says whether a label's value is one that engines behind a server have: a small number.
// What else it may be is kept, and told, nowhere.
func isRank(value string) bool {
	_, err := strconv.ParseUint(value, 10, 16)
	return err == nil
}

// nameOf returns the name that a line begins with: name{…}, or {"name",…}.
func nameOf(line []byte) []byte {
	if rest, ok := bytes.CutPrefix(line, []byte(`{"`)); ok {
		name, _, _ := bytes.Cut(rest, []byte(`"`)) // no name of the table has an escape in it
		return name
	}
	return line[:max(bytes.IndexAny(line, "{ \t"), 0)]
}

// sampleOf cuts off what follows a line's value: the time, which OpenMetrics writes otherwise than
// Prometheus, and the exemplar.
func sampleOf(line []byte) (sample []byte, ok bool) {
	end := skipBlanks(line, bytes.IndexAny(line, "{ \t"))
	if end < len(line) && line[end] == '{' {
		if end = labelsEnd(line, end); end < 0 {
			return nil, false
		}
		end = skipBlanks(line, end)
	}
	if n := bytes.IndexAny(line[end:], " \t#"); n >= 0 {
		return line[:end+n], n > 0
	}
	return line, end < len(line)
}

func skipBlanks(line []byte, from int) int {
	for from < len(line) && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	return from
}

// labelsEnd is where the braces that open at begin have closed, or -1.
func labelsEnd(line []byte, begin int) int {
	quoted := false
	for i := begin + 1; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '}' && !quoted:
			return i + 1
		}
	}
	return -1
}
