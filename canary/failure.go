package canary

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
)

func failure(r dynmesh.Reason, format string, args ...any) *dynmesh.Failure {
	return &dynmesh.Failure{Reason: r, Detail: oneLine(fmt.Sprintf(format, args...))}
}

func failureOf(r dynmesh.Reason, err error) *dynmesh.Failure {
	return &dynmesh.Failure{Reason: r, Detail: oneLine(err.Error()), Err: err}
}

// oneLine makes text that an engine sent fit for logs, gossip and metrics, whatever it is.
func oneLine(s string) string {
	if len(s) > 4*dynmesh.MaxDetail {
		s = s[:4*dynmesh.MaxDetail] // an engine's page-long error costs no more than a line of it
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == '\u2028' || r == '\u2029'
	}), " ")
	if len(s) <= dynmesh.MaxDetail {
		return s
	}
	const more = "…"
	n := dynmesh.MaxDetail - len(more)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
