package table

import (
	"encoding/binary"

	"github.com/dynmesh/dynmesh"
)

// Keys sign what this member says, and check what others said: package identity has them.
type Keys interface {
	// Public returns this member's public key, of KeySize bytes.
	Public() []byte

	// Sign returns this member's signature of a statement, of SignatureSize bytes.
	Sign(statement []byte) []byte

	// Holds reports whether the public key is the member's, and the signature its own of the
	// statement.
	Holds(by dynmesh.InstanceID, public, statement, signature []byte) bool
}

// The sizes of what Keys deal with, in bytes.
const (
	KeySize       = 32
	SignatureSize = 64

	sealSize = 2 + SignatureSize // of the field at an entry's end
)

// appendSeal ends an entry with its author's signature, which covers who said it, of what, and all
// that the entry has.
func appendSeal(raw []byte, keys Keys, by dynmesh.Observer, s dynmesh.Subject) []byte {
	return appendBytes(raw, fieldSignature, keys.Sign(entryStatement(by, s, raw)))
}

// cutSeal returns an entry without its signature, which is its last field.
func cutSeal(raw []byte) (said, signature []byte, ok bool) {
	n := len(raw) - sealSize
	if n < 0 || raw[n] != byte(fieldSignature<<3|uint32(bytesType)) || raw[n+1] != SignatureSize {
		return nil, nil, false
	}
	return raw[:n], raw[n+2:], true
}

// entryStatement is what a signature of an entry covers. What comes first differs from the other
// kind's, lest a signature of one be taken for one of the other.
func entryStatement(by dynmesh.Observer, s dynmesh.Subject, said []byte) []byte {
	b := make([]byte, 0, 256)
	b = append(b, "dynmesh entry\x02"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(by.ID))
	b = binary.LittleEndian.AppendUint64(b, by.Epoch)
	b = appendSubject(b, s)
	return append(b, said...)
}

// watermarkStatement is what a signature of a watermark covers.
func watermarkStatement(by dynmesh.Observer, watermark uint64) []byte {
	b := make([]byte, 0, 64)
	b = append(b, "dynmesh watermark\x02"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(by.ID))
	b = binary.LittleEndian.AppendUint64(b, by.Epoch)
	return binary.LittleEndian.AppendUint64(b, watermark)
}

// appendSubject writes a subject so that no two are written the same.
func appendSubject(b []byte, s dynmesh.Subject) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.ID))
	for _, part := range [3]string{s.Endpoint.Namespace, s.Endpoint.Component, s.Endpoint.Name} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	if s.Measure != 0 { // no entry begins with a byte 0
		b = append(b, 0, byte(s.Measure))
	}
	return b
}
