package canary

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

func failure(r Reason, format string, args ...any) *Failure {
	return &Failure{Reason: r, Detail: oneLine(fmt.Sprintf(format, args...))}
}

func failureOf(r Reason, err error) *Failure {
	return &Failure{Reason: r, Detail: oneLine(err.Error()), Err: err}
}

// oneLine makes text that an engine sent fit for logs, gossip and metrics, whatever it is.
func oneLine(s string) string {
	if len(s) > 4*MaxDetail {
		s = s[:4*MaxDetail] // an engine's page-long error costs no more than a line of it
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == '\u2028' || r == '\u2029'
	}), " ")
	if len(s) <= MaxDetail {
		return s
	}
	const more = "…"
	n := MaxDetail - len(more)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
