package sse

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readLines reads all lines of a text.
func readLines(lines *Lines) (all []string, err error) {
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				all = append(all, string(line))
			}
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, string(line))
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 3*bufferSize)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"LF", "a\nb\n\nc\n", []string{"a", "b", "", "c"}},
		{"CR LF", "a\r\nb\r\n\r\nc\r\n", []string{"a", "b", "", "c"}},
		{"CR", "a\rb\r\rc\r", []string{"a", "b", "", "c"}},
		{"mixed", "a\n\rb\r\n\nc", []string{"a", "", "b", "", "c"}},
		{"no end", "a\nb", []string{"a", "b"}},
		{"longer than the buffer", long + "\n" + long + "\r\nz", []string{long, long, "z"}},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.text),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.text)),
		} {
			got, err := readLines(NewLines(r, len(long), 0))
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%s, %s: got %.100q, %v, want %.100q", tt.name, how, got, err, tt.want)
			}
		}
	}
}

func TestLinesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		text    string
		longest int
		total   int64
		lines   int // that are read before the error
		tooLong bool
	}{
		{"the longest line", "abc\n", 3, 0, 1, false},
		{"one byte more", "abcd\n", 3, 0, 0, true},
		{"one byte more, and no end", "abcd", 3, 0, 0, true},
		{"the longest whole", "abc\nd\n", 3, 6, 2, false},
		{"one byte more than the whole", "abc\nd\n", 3, 5, 1, true},
		{"ends of lines count", "\r\n\r\n", 3, 3, 2, true},
		{"ends of lines that count and fit", "\r\n\r\n", 3, 4, 2, false},
		{"longer than the buffer", strings.Repeat("x", 2*bufferSize+1), 2 * bufferSize, 0, 0, true},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.text),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.text)),
		} {
			got, err := readLines(NewLines(r, tt.longest, tt.total))
			if errors.Is(err, ErrTooLong) != tt.tooLong || (err != nil) != tt.tooLong || len(got) != tt.lines {
				t.Errorf("%s, %s: got %d lines, %v, want %d and too long: %v", tt.name, how, len(got), err, tt.lines, tt.tooLong)
			}
		}
	}
}

func TestLinesDoNotAllocate(t *testing.T) {
	text := strings.Repeat("data: {\"choices\":[{\"text\":\"a\"}]}\n\n", 10_000)
	lines := NewLines(strings.NewReader(text), 1<<10, 0)
	if got := testing.AllocsPerRun(10_000, func() {
		if _, err := lines.Next(); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("got %v allocations a line, want none", got)
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a\nb\r\nc\rd", "\r\n\n\r", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := readLines(NewLines(bytes.NewReader(text), 100, 1000))
		slow, slowErr := readLines(NewLines(iotest.OneByteReader(bytes.NewReader(text)), 100, 1000))
		if !slices.Equal(all, slow) || (err == nil) != (slowErr == nil) {
			t.Errorf("got %q, %v at once, and %q, %v byte by byte", all, err, slow, slowErr)
		}
		for _, line := range all {
			if len(line) > 100 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("got %q, want one line of at most 100 bytes", line)
			}
		}
	})
}
