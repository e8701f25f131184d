package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

type event struct{ name, data string }

const largest = 100 << 10 // of an event in tests

// events reads a stream to its end.
func events(r io.Reader) (all []event, err error) {
	for reader := newEventReader(r, largest); ; {
		name, data, err := reader.next()
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
	long := strings.Repeat("x", 40<<10) // longer than the buffer
	for _, tt := range []struct {
		name, stream string
		want         []event
	}{
		{"events", "data: {\"a\":1}\n\ndata: [DONE]\n\n", []event{{"", `{"a":1}`}, {"", "[DONE]"}}},
		{"no space, other ends of lines", "data:1\r\n\r\ndata:2\r\rdata:3\n\n", []event{{"", "1"}, {"", "2"}, {"", "3"}}},
		{"a name, and a carriage return", "event: error\r\ndata: x\r\ndata: y\r\n\r\n", []event{{"error", "x\ny"}}},
		{"several lines of data", "data: {\ndata: }\n\n", []event{{"", "{\n}"}}},
		{"comments, ids and names", ": ping\n\nid: 7\nretry: 10\nevent: error\ndata: x\n\ndata: y\n\n", []event{{"error", "x"}, {"", "y"}}},
		{"a name that begins like another", "event: errors\ndata: x\n\n", []event{{"errors", "x"}}},
		{"an event without data is none", "event: error\n\ndata: y\n\n", []event{{"", "y"}}},
		{"byte order mark", "\uFEFFdata: 1\n\n", []event{{"", "1"}}},
		{"no end", "data: 1\n\ndata: [DONE]", []event{{"", "1"}, {"", "[DONE]"}}},
		{"empty data", "data\n\ndata:\n\n", []event{{"", ""}, {"", ""}}},
		{"long lines", "data: " + long + "\r\n\r\ndata: 1\n\n", []event{{"", long}, {"", "1"}}},
		{"nothing", "", nil},
	} {
		for name, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.stream),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
		} {
			got, err := events(r)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s, %s: got %.200q, %v, want %.200q", tt.name, name, got, err, tt.want)
			}
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	for name, stream := range map[string]io.Reader{
		"one line":        io.MultiReader(strings.NewReader("data: "), endless("x")),
		"lines of data":   endless("data: 0123456789012345678901234567890123456789\n"),
		"a name, no end":  endless("x"),
		"a comment":       io.MultiReader(strings.NewReader(":"), endless("x")),
		"not of a stream": endless("<html>\n"),
	} {
		if got, err := events(stream); err == nil || len(got) > 0 {
			t.Errorf("%s without end: got %d events and %v, want an error", name, len(got), err)
		}
	}
	most := strings.Repeat("x", largest)
	if got, err := events(strings.NewReader("data: " + most + "\n\n")); err != nil || len(got) != 1 || got[0].data != most {
		t.Errorf("the largest event: got %d, %v, want it", len(got), err)
	}
	for _, stream := range []string{"data: " + most + "x\n\n", "data: " + most + "\ndata:\n\n"} {
		if got, err := events(strings.NewReader(stream)); !errors.Is(err, errTooLong) {
			t.Errorf("one byte more: got %d, %v, want %v", len(got), err, errTooLong)
		}
	}
}

// A reader that waits for more than it needs would hold chunks back.
func TestEventsDoNotWait(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		reader := newEventReader(io.MultiReader(strings.NewReader("data: 1"+end), iotest.ErrReader(errors.New("read on"))), largest)
		if _, data, err := reader.next(); err != nil || string(data) != "1" {
			t.Errorf("%q: got %q, %v, want the event", end, data, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		"data: {\"a\":1}\n\ndata: [DONE]\n\n", ": ping\r\n\r\nevent: error\r\ndata: x\r\n\r\n", "data:1\r\rdata:2\r\n\rdata", "\uFEFFdata: 1\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		all, err := events(bytes.NewReader(stream))
		slow, slowErr := events(iotest.OneByteReader(bytes.NewReader(stream)))
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
		again, err := events(&plain)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
			t.Errorf("got %q, and again %q, %v", all, again, err)
		}
	})
}
