package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

type event struct{ name, data string }

const largest = 100 << 10 // bytes of an event in tests

// readEvents reads a stream to its end.
func readEvents(events *Events) (all []event, err error) {
	for {
		name, data, err := events.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, event{name, string(data)})
	}
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 3*bufferSize)
	for _, tt := range []struct {
		name, stream string
		want         []event
	}{
		{"nothing", "", nil},
		{"events", "data: {\"a\":1}\n\ndata: [DONE]\n\n", []event{{"", `{"a":1}`}, {"", "[DONE]"}}},
		{"no space, other ends of lines", "data:1\r\n\r\ndata:2\r\rdata:3\n\n", []event{{"", "1"}, {"", "2"}, {"", "3"}}},
		{"one space only is taken off", "data:  1\n\n", []event{{"", " 1"}}},
		{"a name, and CR LF", "event: error\r\ndata: x\r\ndata: y\r\n\r\n", []event{{"error", "x\ny"}}},
		{"several lines of data", "data: {\ndata: }\n\n", []event{{"", "{\n}"}}},
		{"comments, ids and names", ": ping\n\nid: 7\nretry: 10\nevent: error\ndata: x\n\ndata: y\n\n", []event{{"error", "x"}, {"", "y"}}},
		{"a comment within an event", "data: 1\n: ping\ndata: 2\n\n", []event{{"", "1\n2"}}},
		{"the last name counts", "event: a\nevent: b\ndata: x\n\n", []event{{"b", "x"}}},
		{"a name that begins like another", "event: errors\ndata: x\n\n", []event{{"errors", "x"}}},
		{"a name is cut", "event: " + long + "\ndata: x\n\n", []event{{long[:maxName], "x"}}},
		{"an event without data is none", "event: error\n\ndata: y\n\n", []event{{"", "y"}}},
		{"unknown fields", "trace: 1\ndata: 1\nx-y\n\nDATA: 2\n\nda ta: 3\n data: 4\n\ndata: 5\n\n", []event{{"", "1"}, {"", "5"}}},
		{"byte order mark", "\uFEFFdata: 1\n\n", []event{{"", "1"}}},
		{"a second mark is of the field's name", "\uFEFFdata: 1\n\n\uFEFFdata: 2\n\n", []event{{"", "1"}}},
		{"no end", "data: 1\n\ndata: [DONE]", []event{{"", "1"}, {"", "[DONE]"}}},
		{"half an end", "data: 1\n\ndata: [DONE]\n", []event{{"", "1"}, {"", "[DONE]"}}},
		{"empty data", "data\n\ndata:\n\n", []event{{"", ""}, {"", ""}}},
		{"long lines", "data: " + long + "\r\n\r\ndata: 1\n\n", []event{{"", long}, {"", "1"}}},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.stream),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
		} {
			got, err := readEvents(NewEvents(r, largest, 0))
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s, %s: got %.200q, %v, want %.200q", tt.name, how, got, err, tt.want)
			}
		}
	}
}

func TestStray(t *testing.T) {
	for stream, want := range map[string]string{
		"":                                   "",
		"data: 1\n\n":                        "",
		"id: 1\nretry: 2\nevent: x\n: c\n\n": "",
		"<html>what?</html>\n<p>\n":          "<html>what?</html>",
		"trace: 1\ndata: 1\n\n":              "",
		strings.Repeat("x", 1000):            strings.Repeat("x", maxStray),
	} {
		events := NewEvents(strings.NewReader(stream), largest, 0)
		if _, err := readEvents(events); err != nil {
			t.Errorf("%.100q: %v", stream, err)
		}
		if got := events.Stray(); got != want {
			t.Errorf("%.100q: got %q, want %q", stream, got, want)
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	for name, stream := range map[string]io.Reader{
		"one line":      io.MultiReader(strings.NewReader("data: "), testkit.Endless("x")),
		"lines of data": testkit.Endless("data: 0123456789012345678901234567890123456789\n"),
		"no line":       testkit.Endless("x"),
		"a comment":     io.MultiReader(strings.NewReader(":"), testkit.Endless("x")),
		"names":         testkit.Endless("event: x\n"),
		"a web page":    testkit.Endless("<html>\n"),
	} {
		if got, err := readEvents(NewEvents(stream, largest, 0)); !errors.Is(err, ErrTooLong) || len(got) > 0 {
			t.Errorf("%s without end: got %d events and %v, want %v", name, len(got), err, ErrTooLong)
		}
	}
	for name, stream := range map[string]io.Reader{
		"events": testkit.Endless("data: x\n\n"), "comments": testkit.Endless(": ping\n\n"), "empty lines": testkit.Endless("\n"),
	} {
		if _, err := readEvents(NewEvents(stream, largest, 1<<20)); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s without end: got %v, want %v", name, err, ErrTooLong)
		}
	}
	most := strings.Repeat("x", largest)
	for _, stream := range []string{"data: " + most + "\n\n", "data:" + most + "\n\n", "x:" + most[:largest-2] + "\ndata: " + most + "\n\n"} {
		got, err := readEvents(NewEvents(strings.NewReader(stream), largest, 0))
		if err != nil || len(got) != 1 || got[0].data != most {
			t.Errorf("the largest event, %.20q: got %d, %v, want it", stream, len(got), err)
		}
	}
	for _, stream := range []string{"data: " + most + "x\n\n", "data: " + most + "\ndata:\n\n"} {
		if got, err := readEvents(NewEvents(strings.NewReader(stream), largest, 0)); !errors.Is(err, ErrTooLong) {
			t.Errorf("one byte more: got %d, %v, want %v", len(got), err, ErrTooLong)
		}
	}
}

// A reader that waits for more than it needs would hold events back.
func TestEventsDoNotWait(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		r := io.MultiReader(strings.NewReader("data: 1"+end), iotest.ErrReader(errors.New("read on")))
		if _, data, err := NewEvents(r, largest, 0).Next(); err != nil || string(data) != "1" {
			t.Errorf("%q: got %q, %v, want the event", end, data, err)
		}
	}
}

func TestEventsPassErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("data: 1\n"), iotest.ErrReader(broken))
	if _, _, err := NewEvents(r, largest, 0).Next(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v, and no event that is not whole", err, broken)
	}
}

func TestEventsDoNotAllocate(t *testing.T) {
	text := strings.Repeat("event: message\ndata: {\"choices\":[{\"text\":\"a\"}]}\ntrace: 1\n\n", 10_000)
	events := NewEvents(strings.NewReader(text), 1<<10, 0)
	if got := testing.AllocsPerRun(9_000, func() {
		if _, _, err := events.Next(); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("got %v allocations an event, want none", got)
	}
}

func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		"data: {\"a\":1}\n\ndata: [DONE]\n\n", ": ping\r\n\r\nevent: error\r\ndata: x\r\n\r\n",
		"data:1\r\rdata:2\r\n\rdata", "\uFEFFdata: 1\n\n", "trace: 1\n\ndata: 1\nx\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		all, err := readEvents(NewEvents(bytes.NewReader(stream), largest, 0))
		slow, slowErr := readEvents(NewEvents(iotest.OneByteReader(bytes.NewReader(stream)), largest, 0))
		if fmt.Sprint(all) != fmt.Sprint(slow) || (err == nil) != (slowErr == nil) {
			t.Errorf("got %q, %v at once, and %q, %v byte by byte", all, err, slow, slowErr)
		}
		// What was read is read again from its plainest form.
		var plain bytes.Buffer
		for _, e := range all {
			if e.name != "" {
				fmt.Fprintf(&plain, "event: %s\n", e.name)
			}
			for _, line := range strings.Split(e.data, "\n") {
				fmt.Fprintf(&plain, "data: %s\n", line)
			}
			plain.WriteString("\n")
		}
		again, err := readEvents(NewEvents(&plain, largest, 0))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
			t.Errorf("got %q, and again %q, %v", all, again, err)
		}
	})
}

func BenchmarkEvents(b *testing.B) {
	text := strings.Repeat("data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" the\"}]}\n\n", 1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		events := NewEvents(strings.NewReader(text), largest, 0)
		for {
			if _, _, err := events.Next(); err != nil {
				break
			}
		}
	}
}
