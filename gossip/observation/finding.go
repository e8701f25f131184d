package observation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// What another version knows and this one does not.
const (
	UnknownFinding dynmesh.Finding = "unknown"
	UnknownReason  dynmesh.Reason  = "unknown"
)

// The fields of an entry, as wire.proto has them.
const (
	fieldEndpoint = protowire.Number(iota + 1)
	fieldSubject
	fieldSeq
	fieldFinding
	fieldKind
	fieldReady
	fieldDraining
	fieldReason
	fieldDetail
	fieldLatency
	fieldAt
)

const (
	maxLatency = 24 * time.Hour
	maxAt      = 253402300799999 // the last millisecond of the year 9999, after which RFC 3339 has no form
)

// The indexes are the numbers on the wire.
func findings() [6]dynmesh.Finding {
	return [...]dynmesh.Finding{"", dynmesh.Unchecked, dynmesh.Pass, dynmesh.Fail, dynmesh.Busy, dynmesh.Stalled}
}

func reasons() [14]dynmesh.Reason {
	return [...]dynmesh.Reason{"", dynmesh.ReasonTimeout, dynmesh.ReasonFrozen, dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonStatus,
		dynmesh.ReasonErrorChunk, dynmesh.ReasonError, dynmesh.ReasonPanic, dynmesh.ReasonEmpty, dynmesh.ReasonMalformed, dynmesh.ReasonOversized, dynmesh.ReasonCut, dynmesh.ReasonCanceled}
}

// check returns the finding as every member will read it, or why no member would.
func check(self dynmesh.Observer, f dynmesh.Report) (dynmesh.Report, error) {
	if !owns(self.ID, f.Subject, f.Kind) || f.Kind < dynmesh.KindCanary || f.Kind > dynmesh.KindProcess {
		return f, fmt.Errorf("kind is %s, which %s cannot say of %s", f.Kind, self.ID, f.Subject.ID)
	}
	if f.Subject.ID == 0 {
		return f, errors.New("subject has no ID")
	}
	if nameLen(f.Subject) > MaxName {
		return f, fmt.Errorf("name of the endpoint has %d bytes, want at most %d", nameLen(f.Subject), MaxName)
	}
	if numberOf(f.Finding) == 0 {
		return f, fmt.Errorf("finding is %q, which has no number", f.Finding)
	}
	if f.Finding != dynmesh.Fail {
		f.Reason = ""
	}
	if f.Reason != "" && numberOfReason(f.Reason) == 0 {
		return f, fmt.Errorf("reason is %q, which has no number", f.Reason)
	}
	f.Detail = oneLine(f.Detail)
	f.Latency = min(max(f.Latency, 0), maxLatency)
	f.At = readAt(f.At.UnixMilli())
	return f, nil
}

func readAt(ms int64) time.Time {
	if ms <= 0 || ms > maxAt {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// encode writes what is kept of an entry; f is nil for a withdrawal.
func encode(seq uint64, f *dynmesh.Report) []byte {
	b := make([]byte, 0, 48)
	number := func(n protowire.Number, v uint64) {
		if v != 0 {
			b = protowire.AppendTag(b, n, protowire.VarintType)
			b = protowire.AppendVarint(b, v)
		}
	}
	number(fieldSeq, seq)
	if f == nil {
		return b
	}
	number(fieldFinding, numberOf(f.Finding))
	number(fieldKind, uint64(f.Kind))
	number(fieldReady, protowire.EncodeBool(f.Ready))
	number(fieldDraining, protowire.EncodeBool(f.Draining))
	number(fieldReason, numberOfReason(f.Reason))
	if f.Detail != "" {
		b = protowire.AppendTag(b, fieldDetail, protowire.BytesType)
		b = protowire.AppendString(b, f.Detail)
	}
	number(fieldLatency, uint64(f.Latency/time.Microsecond))
	if !f.At.IsZero() {
		number(fieldAt, uint64(f.At.UnixMilli()))
	}
	return b
}

// decode reads what encode wrote, here or in another version. It never fails on what split has accepted: what it does not
// understand it leaves out.
func decode(raw []byte) (f dynmesh.Report, seq uint64, live bool) {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return f, seq, live
		}
		raw = raw[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(raw)
			if n < 0 {
				return f, seq, live
			}
			raw = raw[n:]
			switch num {
			case fieldSeq:
				seq = v
			case fieldFinding:
				f.Finding, live = findingOf(v), v != 0
			case fieldKind:
				f.Kind = dynmesh.Kind(min(v, 255))
			case fieldReady:
				f.Ready = v != 0
			case fieldDraining:
				f.Draining = v != 0
			case fieldReason:
				f.Reason = reasonOf(v)
			case fieldLatency:
				f.Latency = time.Duration(min(v, uint64(maxLatency/time.Microsecond))) * time.Microsecond
			case fieldAt:
				f.At = readAt(int64(v))
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(raw)
			if n < 0 {
				return f, seq, live
			}
			raw = raw[n:]
			if num == fieldDetail {
				f.Detail = oneLine(string(v[:min(len(v), 4*dynmesh.MaxDetail)]))
			}
		default:
			n := protowire.ConsumeFieldValue(num, typ, raw)
			if n < 0 {
				return f, seq, live
			}
			raw = raw[n:]
		}
	}
	return f, seq, live
}

func numberOf(f dynmesh.Finding) uint64 {
	all := findings()
	return uint64(max(0, slices.Index(all[:], f)))
}

func numberOfReason(r dynmesh.Reason) uint64 {
	all := reasons()
	return uint64(max(0, slices.Index(all[:], r)))
}

func findingOf(n uint64) dynmesh.Finding {
	if all := findings(); n < uint64(len(all)) {
		return all[n]
	}
	return UnknownFinding
}

func reasonOf(n uint64) dynmesh.Reason {
	if all := reasons(); n < uint64(len(all)) {
		return all[n]
	}
	return UnknownReason
}

// oneLine makes any text what Finding.Detail promises.
func oneLine(s string) string {
	if len(s) > 4*dynmesh.MaxDetail {
		s = s[:4*dynmesh.MaxDetail]
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
