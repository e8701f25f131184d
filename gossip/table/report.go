package table

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What another version knows and this one does not.
const (
	unknownFinding dynmesh.Finding = "unknown"
	unknownReason  dynmesh.Reason  = "unknown"
)

// The fields of an entry, as wire.proto has them.
const (
	fieldEndpoint uint32 = iota + 1
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
	fieldSignature // the last one of an entry
	fieldMeasure
	fieldSample
)

const (
	maxLatency = 24 * time.Hour
	lineInput  = 4*dynmesh.MaxDetail + 1 // bytes of a detail that text.Line looks at, and whether there are more
	maxAt      = 253402300799999         // the last millisecond of the year 9999, after which RFC 3339 has no form
)

// The indexes are the numbers on the wire.
func findings() [6]dynmesh.Finding {
	return [...]dynmesh.Finding{"", dynmesh.Unchecked, dynmesh.Pass, dynmesh.Fail, dynmesh.Busy, dynmesh.Stalled}
}

func reasons() [18]dynmesh.Reason {
	return [...]dynmesh.Reason{
		"", dynmesh.ReasonTimeout, dynmesh.ReasonFrozen, dynmesh.ReasonRefused, dynmesh.ReasonUnreachable,
		dynmesh.ReasonStatus, dynmesh.ReasonErrorChunk, dynmesh.ReasonError, dynmesh.ReasonPanic, dynmesh.ReasonEmpty,
		dynmesh.ReasonMalformed, dynmesh.ReasonOversized, dynmesh.ReasonCut, dynmesh.ReasonCanceled,
		dynmesh.ReasonBusy, dynmesh.ReasonUnexpected, dynmesh.ReasonAsleep, dynmesh.ReasonDead,
	}
}

// checkReport returns the report as every member will read it, or why no member would.
func checkReport(self dynmesh.Observer, r dynmesh.Report) (dynmesh.Report, error) {
	if !mayReport(self.ID, r.Subject, r.Kind) || r.Kind < dynmesh.KindCanary || r.Kind > dynmesh.KindMeasure {
		return r, fmt.Errorf("kind is %s, which %s cannot say of %s", r.Kind, self.ID, r.Subject.ID)
	}
	if r.Subject.ID == 0 {
		return r, errors.New("subject has no ID")
	}
	if nameLen(r.Subject) > maxName {
		return r, fmt.Errorf("name of the endpoint has %d bytes, want at most %d", nameLen(r.Subject), maxName)
	}
	if findingNumber(r.Finding) == 0 {
		return r, fmt.Errorf("finding is %q, which has no number", r.Finding)
	}
	if r.Finding != dynmesh.Fail && (r.Finding != dynmesh.Pass || r.Kind != dynmesh.KindPath) {
		r.Reason = ""
	}
	if r.Reason != "" && reasonNumber(r.Reason) == 0 {
		return r, fmt.Errorf("reason is %q, which has no number", r.Reason)
	}
	if len(r.Sample) > dynmesh.MaxSample || r.Sample != "" && r.Kind != dynmesh.KindMeasure {
		return r, fmt.Errorf("sample has %d bytes, want at most %d of a measure", len(r.Sample), dynmesh.MaxSample)
	}
	r.Detail = text.Line(r.Detail, dynmesh.MaxDetail)
	r.Latency = min(max(r.Latency, 0), maxLatency)
	r.At = timeOf(r.At.UnixMilli())
	return r, nil
}

func timeOf(ms int64) time.Time {
	if ms <= 0 || ms > maxAt {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// encodeReport writes what is kept of an entry; nil is a withdrawal.
func encodeReport(seq uint64, r *dynmesh.Report) []byte {
	b := make([]byte, 0, 48)
	number := func(n uint32, v uint64) {
		if v != 0 {
			b = appendVarint(b, n, v)
		}
	}
	truth := func(n uint32, v bool) {
		if v {
			b = appendVarint(b, n, 1)
		}
	}
	number(fieldSeq, seq)
	if r == nil {
		return b
	}
	number(fieldFinding, findingNumber(r.Finding))
	number(fieldKind, uint64(r.Kind))
	truth(fieldReady, r.Ready)
	truth(fieldDraining, r.Draining)
	number(fieldReason, reasonNumber(r.Reason))
	if r.Detail != "" {
		b = appendBytes(b, fieldDetail, r.Detail)
	}
	number(fieldLatency, uint64(r.Latency/time.Microsecond))
	if !r.At.IsZero() {
		number(fieldAt, uint64(r.At.UnixMilli()))
	}
	if r.Sample != "" {
		b = appendBytes(b, fieldSample, r.Sample)
	}
	return b
}

// decodeReport reads what encodeReport wrote, here or in another version. It never fails on what
// parseBatch has accepted: what it does not understand it leaves out.
func decodeReport(raw []byte) (r dynmesh.Report, seq uint64, stands bool) {
	for len(raw) > 0 {
		f, rest, err := readField(raw)
		if err != nil {
			return r, seq, stands
		}
		raw = rest
		if f.typ == bytesType {
			switch {
			case f.number == fieldDetail:
				r.Detail = text.Line(string(f.bytes[:min(len(f.bytes), lineInput)]), dynmesh.MaxDetail)
			case f.number == fieldSample && len(f.bytes) <= dynmesh.MaxSample:
				r.Sample = string(f.bytes)
			}
		}
		if f.typ != varintType {
			continue
		}
		switch v := f.value; f.number {
		case fieldSeq:
			seq = v
		case fieldFinding:
			r.Finding, stands = findingOf(v), v != 0
		case fieldKind:
			r.Kind = dynmesh.Kind(min(v, 255))
		case fieldReady:
			r.Ready = v != 0
		case fieldDraining:
			r.Draining = v != 0
		case fieldReason:
			r.Reason = reasonOf(v)
		case fieldLatency:
			r.Latency = time.Duration(min(v, uint64(maxLatency/time.Microsecond))) * time.Microsecond
		case fieldAt:
			r.At = timeOf(int64(v))
		}
	}
	return r, seq, stands
}

// sameReport says whether two entries differ in their sequence only.
func sameReport(a, b []byte) bool {
	x, _, _ := decodeReport(a)
	y, _, _ := decodeReport(b)
	return x == y
}

func findingNumber(f dynmesh.Finding) uint64 {
	all := findings()
	return uint64(max(0, slices.Index(all[:], f)))
}

func reasonNumber(r dynmesh.Reason) uint64 {
	all := reasons()
	return uint64(max(0, slices.Index(all[:], r)))
}

func findingOf(n uint64) dynmesh.Finding {
	if all := findings(); n < uint64(len(all)) {
		return all[n]
	}
	return unknownFinding
}

func reasonOf(n uint64) dynmesh.Reason {
	if all := reasons(); n < uint64(len(all)) {
		return all[n]
	}
	return unknownReason
}

func nameLen(s dynmesh.Subject) int {
	return len(s.Endpoint.Namespace) + len(s.Endpoint.Component) + len(s.Endpoint.Name)
}
