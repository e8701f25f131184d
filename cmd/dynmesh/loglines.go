package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Both formats follow Dynamo's log: time in UTC with microseconds, level in capitals, target,
// message.
const logTime = "2006-01-02T15:04:05.000000Z"

// targetKey is the log key that names the part of the program. It comes out as the line's target.
const targetKey = "component"

// textLines writes one line of text an entry: time, level, target, message, and the fields by name.
type textLines struct{}

func (textLines) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %5s %s: %s", e.Time.UTC().Format(logTime), levelName(e.Level), target(e), escapeLines(e.Message))
	for _, key := range fieldNames(e) {
		fmt.Fprintf(&b, " %s=%s", key, textField(e.Data[key]))
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// textField quotes what would not read as one word.
func textField(value any) string {
	s := fmt.Sprint(value)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || r == 0x7f }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// escapeLines keeps a message that quotes foreign text from looking like several.
func escapeLines(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

// jsonLines writes one JSON document a line.
type jsonLines struct{}

func (jsonLines) Format(e *logrus.Entry) ([]byte, error) {
	line := make(map[string]any, len(e.Data)+4)
	for _, key := range fieldNames(e) {
		line[key] = jsonField(e.Data[key])
	}
	line["time"] = e.Time.UTC().Format(logTime)
	line["level"] = levelName(e.Level)
	line["target"] = target(e)
	line["message"] = e.Message
	b, err := json.Marshal(line)
	if err != nil {
		return nil, fmt.Errorf("format log line %q: %w", e.Message, err)
	}
	return append(b, '\n'), nil
}

// jsonField keeps numbers and booleans, and writes everything else as text does: errors and
// durations have no JSON.
func jsonField(value any) any {
	switch v := value.(type) {
	case bool, int, int64, uint64, string:
		return v
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(value)
}

func levelName(level logrus.Level) string {
	if level == logrus.WarnLevel {
		return "WARN"
	}
	return strings.ToUpper(level.String())
}

func target(e *logrus.Entry) string {
	if name, ok := e.Data[targetKey]; ok {
		return fmt.Sprint("dynmesh::", name)
	}
	return "dynmesh"
}

func fieldNames(e *logrus.Entry) []string {
	var names []string
	for name := range e.Data {
		if name != targetKey {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
