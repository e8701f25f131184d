package gossip

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The types of messages, beside those of package table.
const (
	typePing = table.FirstFreeType + iota
	typePong
	typeDigestProbe
	typeState
	typeCompound
)

// The fields of all of them, as wire.proto has them: the same field means the same everywhere.
const (
	fieldID = protowire.Number(iota + 1)
	fieldEpoch
	fieldAddr
	fieldNonce
	fieldStream
	fieldSum
	fieldDigest
	fieldReply
	fieldMessages
	fieldMembers
)

// maxCompound is where a compound ends and another begins. memberlist gives each 10 s, and what has
// not arrived then has not arrived at all: over a slow or lossy way a large one never would.
const maxCompound = 256 << 10

// message is any of them. What a type does not have is zero.
type message struct {
	typ      byte
	from     dynmesh.Observer
	addr     string
	nonce    uint64
	stream   bool
	sum      uint64
	digest   []byte
	reply    bool // of a digest probe: an announcement
	messages [][]byte
	members  uint64
}

func (m message) encode() []byte {
	b := append(make([]byte, 0, 48+len(m.addr)+len(m.digest)), table.Version, m.typ)
	b = protowire.AppendTag(b, fieldID, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(m.from.ID))
	number := func(n protowire.Number, v uint64) {
		if v != 0 {
			b = protowire.AppendTag(b, n, protowire.VarintType)
			b = protowire.AppendVarint(b, v)
		}
	}
	number(fieldEpoch, m.from.Epoch)
	if m.addr != "" {
		b = protowire.AppendTag(b, fieldAddr, protowire.BytesType)
		b = protowire.AppendString(b, m.addr)
	}
	number(fieldNonce, m.nonce)
	number(fieldStream, protowire.EncodeBool(m.stream))
	if m.typ == typeDigestProbe {
		b = protowire.AppendTag(b, fieldSum, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, m.sum)
		b = protowire.AppendTag(b, fieldMembers, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, m.members)
	}
	if m.digest != nil {
		b = protowire.AppendTag(b, fieldDigest, protowire.BytesType)
		b = protowire.AppendBytes(b, m.digest)
	}
	number(fieldReply, protowire.EncodeBool(m.reply))
	return b
}

// decodeMessage reads a message whose version and type are known. The result shares memory with b.
func decodeMessage(b []byte) (message, error) {
	m := message{typ: b[1]}
	err := eachField(b[2:], func(n protowire.Number, text []byte, v uint64) {
		switch n {
		case fieldID:
			m.from.ID = dynmesh.InstanceID(v)
		case fieldEpoch:
			m.from.Epoch = v
		case fieldAddr:
			m.addr = string(text)
		case fieldNonce:
			m.nonce = v
		case fieldStream:
			m.stream = v != 0
		case fieldSum:
			m.sum = v
		case fieldDigest:
			m.digest = text
		case fieldReply:
			m.reply = v != 0
		case fieldMembers:
			m.members = v
		case fieldMessages:
			m.messages = append(m.messages, text)
		}
	})
	if err == nil && m.from.ID == 0 {
		err = errors.New("it does not say whose it is")
	}
	return m, err
}

// eachField calls visit with each field of a protobuf message: text for bytes, v for numbers.
func eachField(b []byte, visit func(n protowire.Number, text []byte, v uint64)) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var text []byte
		var v uint64
		switch typ {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(number, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		visit(number, text, v)
	}
	return nil
}

// compounds puts messages together, so that few connections are needed.
func compounds(from dynmesh.Observer, messages [][]byte) [][]byte {
	var all [][]byte
	var b []byte
	for _, m := range messages {
		if b != nil && len(b)+len(m) > maxCompound {
			all, b = append(all, b), nil
		}
		if b == nil {
			b = message{typ: typeCompound, from: from}.encode()
		}
		b = protowire.AppendTag(b, fieldMessages, protowire.BytesType)
		b = protowire.AppendBytes(b, m)
	}
	if b != nil {
		all = append(all, b)
	}
	return all
}

// sumOf is a digest in eight bytes.
func sumOf(d table.Digest) uint64 {
	var sum uint64
	for i, h := range d {
		sum = (sum ^ h ^ uint64(i)) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	return sum
}

// memberName is the member's name in memberlist. The epoch is in it because memberlist holds
// whoever comes back under the name of one that has died for that one, and would not let it in from
// another address.
func memberName(o dynmesh.Observer) string {
	return o.ID.String() + "-" + strconv.FormatUint(o.Epoch, 36)
}

// parseName reads what memberName writes, and nothing else: two names must not mean one member.
func parseName(name string) (dynmesh.Observer, error) {
	id, epoch, ok := strings.Cut(name, "-")
	if !ok {
		return dynmesh.Observer{}, errors.New("its name has no epoch")
	}
	var o dynmesh.Observer
	var err error
	if o.ID, err = dynmesh.ParseInstanceID(id); err != nil {
		return o, err
	}
	if o.Epoch, err = strconv.ParseUint(epoch, 36, 64); err != nil || o.ID == 0 || memberName(o) != name {
		return o, errors.New("its name has no ID or no epoch")
	}
	return o, nil
}

// maxIncarnation is the highest incarnation that a member of the name can have by then: twice as
// many as it refutes claims since it began, and what clocks that differ by half an hour make of it.
func maxIncarnation(name string, now time.Time) int64 {
	const atFirst, aSecond = 1 << 16, 40
	o, err := parseName(name)
	if err != nil || o.Epoch > uint64(now.UnixMilli()) {
		return atFirst
	}
	return atFirst + (now.UnixMilli()-int64(o.Epoch))/1000*aSecond
}

// errLeft refuses a member that has left.
var errLeft = errors.New("it has left")

// peerAt makes a peer of an observer and an address, for sending. A zone names an interface of the
// host that said so; the kernel's interfaces would be listed anew for each that this one has not.
func peerAt(o dynmesh.Observer, addr string) (swim.Peer, error) {
	at, err := netip.ParseAddrPort(addr)
	return swim.Peer{Name: memberName(o), Addr: netip.AddrPortFrom(at.Addr().WithZone(""), at.Port())}, err
}

// The fields of a member's metadata: what others must know of it before it says anything. New ones
// may be added; whoever does not know them leaves them alone.
const (
	metaRole = protowire.Number(iota + 1)
	metaService
	metaLeaseTTL // milliseconds
	metaVersion
	metaKey
	metaSignature // the last one: of all before it, and of name and address
)

// The longest that Service and Version may be. They keep the metadata under memberlist's 512 bytes.
const (
	maxService = 300 // a host name of 253, and a port
	maxVersion = 32
	maxRole    = 32 // of a role that a later version has
)

func encodeMeta(i *Identity, name string, addr netip.AddrPort, m dynmesh.Member) []byte {
	var b []byte
	text := func(n protowire.Number, s string) {
		if s != "" {
			b = protowire.AppendTag(b, n, protowire.BytesType)
			b = protowire.AppendString(b, s)
		}
	}
	text(metaRole, string(m.Role))
	text(metaService, m.Service)
	if m.LeaseTTL > 0 {
		b = protowire.AppendTag(b, metaLeaseTTL, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(m.LeaseTTL/time.Millisecond))
	}
	text(metaVersion, m.Version)
	text(metaKey, string(i.Public()))
	text(metaSignature, string(i.Sign(memberStatement(name, addr, b))))
	return b
}

// memberStatement is what a member signs of itself.
func memberStatement(name string, addr netip.AddrPort, said []byte) []byte {
	b := make([]byte, 0, 512)
	b = append(b, "dynmesh member\x02"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(name)))
	b = append(b, name...)
	at := addr.Addr().As16()
	b = append(b, at[:]...)
	b = binary.LittleEndian.AppendUint16(b, addr.Port())
	return append(b, said...)
}

// cutSignature returns metadata without the signature at its end; none where there is none.
func cutSignature(meta []byte) (said, signature []byte) {
	n := len(meta) - table.SignatureSize - 2
	if n < 0 || meta[n] != byte(protowire.EncodeTag(metaSignature, protowire.BytesType)) || meta[n+1] != table.SignatureSize {
		return meta, nil
	}
	return meta[:n], meta[n+2:]
}

// isService reports whether s is host:port in one line of text, of at most maxService bytes.
func isService(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && len(s) <= maxService && text.Line(s, maxService) == s
}

// decodeMeta reads what encodeMeta writes. Role and Version become one line of text; what is no
// host:port is refused.
func decodeMeta(b []byte) (m dynmesh.Member, key []byte, err error) {
	err = eachField(b, func(n protowire.Number, value []byte, v uint64) {
		switch n {
		case metaRole:
			m.Role = dynmesh.Role(text.Line(string(value), maxRole))
		case metaService:
			m.Service = string(value)
		case metaLeaseTTL:
			m.LeaseTTL = time.Duration(min(v, uint64(maxLeaseTTL/time.Millisecond))) * time.Millisecond
		case metaVersion:
			m.Version = text.Line(string(value), maxVersion)
		case metaKey:
			key = value
			m.PublicKey = identity.Text(value)
		}
	})
	switch {
	case err != nil:
	case m.Role == "":
		err = errors.New("its metadata has no role")
	case m.Service != "" && !isService(m.Service):
		err = errors.New("its port of requests is no host:port")
	case len(key) != table.KeySize:
		err = errors.New("its metadata has no key")
	}
	return m, key, err
}
