package swim

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/gossip/frame"
)

// adapted is a logAdapter, and what it has been given to say.
type adapted struct {
	logAdapter
	out      bytes.Buffer
	signals  map[string]Signal
	rejected map[string]int
}

func newAdapted(level logrus.Level) *adapted {
	a := &adapted{signals: make(map[string]Signal), rejected: make(map[string]int)}
	logger := logrus.New()
	logger.SetOutput(&a.out)
	logger.SetLevel(level)
	a.logAdapter = logAdapter{
		log: logrus.NewEntry(logger), reject: func(reason string) { a.rejected[reason]++ },
		signal: func(name string, s Signal) { a.signals[name] |= s },
	}
	return a
}

// The texts are memberlist's, and nothing but this holds them: a new version of it that says things
// differently fails here.
func TestPatternsAreOfThisMemberlist(t *testing.T) {
	create := runtime.FuncForPC(reflect.ValueOf(memberlist.Create).Pointer())
	file, _ := create.FileLine(create.Entry())
	files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.go"))
	if err != nil || len(files) == 0 {
		t.Skipf("memberlist's source is not at %s", file)
	}
	var source strings.Builder
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "_test.go") {
			source.Write(b)
		}
	}
	system := []string{
		"i/o timeout", "use of closed network connection", "connection reset by peer", "broken pipe",
		frame.ErrCompressed.Error(), frame.ErrTooLong.Error(), frame.ErrMalformed.Error(), errNoRoom.Error(), frame.ErrRunAway.Error(),
	}
	for _, p := range linePatterns() {
		for _, text := range p.texts {
			if !slices.Contains(system, text) && !strings.Contains(source.String(), text) {
				t.Errorf("memberlist never says %q", text)
			}
		}
	}
	// What it complains of, and no pattern knows: it is passed on as it is. Most of it is about its
	// own code.
	line := regexp.MustCompile(`"\[(ERR|ERROR|WARN)\] (?:memberlist: )?([^"]*)`)
	unknown := 0
	for _, m := range line.FindAllStringSubmatch(source.String(), -1) {
		if _, _, ok := patternOf(m[2]); !ok {
			unknown++
			t.Logf("no pattern for: %s", m[2])
		}
	}
	if unknown > 25 {
		t.Errorf("%d complaints of memberlist are not known", unknown)
	}
}

func TestLogAdapter(t *testing.T) {
	for line, want := range map[string]struct {
		reject string
		level  string
		name   string
		signal Signal
	}{
		"[ERR] memberlist: discarding packet with unacceptable label \"x\": from=10.0.0.1:1":                         {reject: "label", level: "warning"},
		"[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.1:1":       {reject: "key", level: "warning"},
		"[ERR] memberlist: failed to receive: no installed keys could decrypt the message from=10.0.0.1:1":           {reject: "key", level: "warning"},
		"[ERR] memberlist: failed to receive: read tcp 10.0.0.1:1->10.0.0.2:2: i/o timeout from=10.0.0.2:2":          {level: "debug"},
		"[ERR] memberlist: msg type (99) not supported from=10.0.0.1:1":                                              {reject: "malformed", level: "warning"},
		"[INFO] memberlist: Suspect a-b has failed, no acks received":                                                {level: "debug", name: "a-b", signal: Suspected},
		"[WARN] memberlist: Was able to connect to a-b over TCP but UDP probes failed, network may be misconfigured": {level: "debug", name: "a-b", signal: UDPDegraded},
		"[ERR] memberlist: Push/Pull with a-b failed: dial tcp 10.0.0.1:1: connect: connection refused":              {level: "debug"},
		"[INFO] memberlist: Marking a-b as failed, suspect timeout reached (0 peer confirmations)":                   {level: "debug"},
		"[WARN] memberlist: Refuting a suspect message (from: a-b)":                                                  {level: "debug"},
		"[ERR] memberlist: Conflicting address for a-b. Mine: 10.0.0.1:1 Theirs: 10.0.0.2:1 Old state: 0":            {reject: "conflict", level: "warning"},
		"[WARN] memberlist: handler queue full, dropping message (8) from=10.0.0.1:1":                                {reject: "overload", level: "warning"},
		"[ERR] memberlist: something that nobody has thought of":                                                     {level: "warning"},
		"[INFO] memberlist: something that nobody has thought of":                                                    {level: "debug"},
		"[DEBUG] memberlist: Initiating push/pull sync with: a-b 10.0.0.1:1":                                         {level: "trace"},
		"[DEBUG] memberlist: Stream connection from=10.0.0.1:1":                                                      {level: "trace"},
		"Err: Could not set the deadline: closed":                                                                    {level: "warning"},
	} {
		b := newAdapted(logrus.TraceLevel)
		if n, err := b.Write([]byte(line + "\n")); n != len(line)+1 || err != nil {
			t.Errorf("%s: wrote %d, %v", line, n, err)
		}
		if got := b.rejected; want.reject != "" && got[want.reject] != 1 || want.reject == "" && len(got) > 0 {
			t.Errorf("%s: rejected %v, want %s", line, got, want.reject)
		}
		last := b.out.String()[strings.LastIndex(strings.TrimSpace(b.out.String()), "\n")+1:]
		if !strings.Contains(last, "level="+want.level) {
			t.Errorf("%s: logged %s, want %s", line, last, want.level)
		}
		if want.signal != b.signals[want.name] {
			t.Errorf("%s: signals %v", line, b.signals)
		}
	}
}

func TestLogAdapterWarnsOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newAdapted(logrus.InfoLevel)
		for range 100 {
			_, _ = b.Write([]byte("[ERR] memberlist: discarding packet with unacceptable label \"x\": from=10.0.0.1:1\n"))
			time.Sleep(time.Second)
		}
		if n := strings.Count(b.out.String(), "level=warning"); n != 2 || !strings.Contains(b.out.String(), "times=60") {
			t.Errorf("%d warnings in 100 s:\n%s", n, &b.out)
		}
	})
}
