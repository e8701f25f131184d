package oncall

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

const runbookFile = "../../docs/runbook.md"

// question is one of the runbook's: a command, and what it prints of a mesh that is well, and of
// one that is not.
type question struct {
	title     string
	command   string
	good, bad string // bad may be empty
}

// block is a fenced block of Markdown, and the line before it that says something.
type block struct{ before, language, text string }

func blocks(markdown string) []block {
	var all []block
	var open *block
	last := ""
	for line := range strings.Lines(markdown) {
		word := strings.TrimSpace(line)
		fence, isFence := strings.CutPrefix(word, "```")
		switch {
		case isFence && open == nil:
			open = &block{before: last, language: fence}
		case isFence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		case word != "":
			last = word
		}
	}
	return all
}

func readRunbook(t *testing.T) (text string, questions []question) {
	t.Helper()
	file, err := os.ReadFile(runbookFile)
	if err != nil {
		t.Fatal(err)
	}
	text = string(file)
	asked, _, _ := strings.Cut(text, "\n# Alerts\n")
	for _, section := range strings.Split(asked, "\n## ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		q := question{title: title}
		for _, b := range blocks(body) {
			switch {
			case b.language == "sh":
				q.command += b.text
			case b.language == "text" && b.before == "Good:":
				q.good = b.text
			case b.language == "text" && b.before == "Bad:":
				q.bad = b.text
			default:
				t.Errorf("%s: a block of %q after %q", title, b.language, b.before)
			}
		}
		if strings.Count(q.command, "\n") != 1 || q.good == "" {
			t.Errorf("%s: want a command of one line and what is good, got %+v", title, q)
		}
		questions = append(questions, q)
	}
	if len(questions) != 11 {
		t.Fatalf("got %d questions, want 11", len(questions))
	}
	return text, questions
}

// answers asks each question of a frontend with sh, and holds what comes to the runbook's example.
func (f *fleet) answers(t *testing.T, questions []question, example func(question) string) {
	tool(t, "curl")
	tool(t, "jq")
	for _, q := range questions {
		t.Run(q.title, func(t *testing.T) {
			eventually(t, "the command prints what the runbook says", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				cmd := exec.CommandContext(ctx, "sh", "-c", q.command)
				cmd.Env = append(os.Environ(), "DYN_FRONTEND_URL="+f.frontends[0].url)
				var said strings.Builder
				cmd.Stderr = &said
				out, err := cmd.Output()
				if err != nil || said.String() != "" {
					return fmt.Errorf("%w: %s", err, said.String())
				}
				if want := example(q); want != "" && !alike(f.anonymous(t, string(out)), want) {
					return fmt.Errorf("got\n%s\nwant\n%s", f.anonymous(t, string(out)), want)
				}
				return nil
			})
		})
	}
}

// anonymous gives the names of the runbook's mesh to what is here.
func (f *fleet) anonymous(t *testing.T, out string) string {
	t.Helper()
	var mesh struct {
		Endpoints []struct {
			Instances []struct {
				Worker *struct{ Host, Version string }
			}
		}
	}
	if body, err := f.frontends[0].get("/mesh"); err != nil || json.Unmarshal([]byte(body), &mesh) != nil {
		t.Fatalf("got %s: %v", body, err)
	}
	for _, e := range mesh.Endpoints {
		for _, i := range e.Instances {
			if i.Worker != nil {
				out = strings.NewReplacer(i.Worker.Host, "node-7", i.Worker.Version, "v1.4.2").Replace(out)
			}
		}
	}
	return out
}

// alike says whether what was printed has the form of the example: IDs, times, addresses and the
// like may be any, and a line of … stands for any lines.
func alike(out, example string) bool {
	if strings.TrimSpace(example) == "(nothing)" {
		return strings.TrimSpace(out) == ""
	}
	if out = form(out); !strings.Contains(example, "…") {
		return out == form(example)
	}
	for part := range strings.SplitSeq(form(example), "…\n") {
		if !strings.Contains(out, part) {
			return false
		}
	}
	return true
}

// form makes what may differ alike.
func form(text string) string {
	for _, any := range []struct{ pattern, is string }{
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME"},
		{`\b[0-9a-f]{12,16}\b`, "ID"},
		{`this frontend|(worker|frontend) ID on \S+`, "MEMBER"},
		{`\d of \d watchers cannot reach it: .*`, "WATCHERS"}, // how many and which ones changes with who is there
		{`\b\d+(\.\d+){3}:\d+`, "ADDR"},
		{`process \d+`, "process N"},
		{`health score \d`, "health score N"}, // on a machine that has much to do
	} {
		text = regexp.MustCompile(any.pattern).ReplaceAllString(text, any.is)
	}
	return text
}
