package gossip

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// nodeName is the member's name in memberlist. The epoch is in it because memberlist holds whoever comes back under the name of
// one that has died for that one, and would not let it in from another address.
func nodeName(o dynmesh.Observer) string {
	return o.ID.String() + "-" + strconv.FormatUint(o.Epoch, 36)
}

// parseNodeName reads what nodeName writes, and nothing else: two names must not mean one member.
func parseNodeName(name string) (dynmesh.Observer, error) {
	id, epoch, ok := strings.Cut(name, "-")
	if !ok {
		return dynmesh.Observer{}, errors.New("its name has no epoch")
	}
	var o dynmesh.Observer
	var err error
	if o.ID, err = dynmesh.ParseInstanceID(id); err != nil {
		return o, err
	}
	if o.Epoch, err = strconv.ParseUint(epoch, 36, 64); err != nil || o.ID == 0 || nodeName(o) != name {
		return o, errors.New("its name has no ID or no epoch")
	}
	return o, nil
}

// The fields of a member's metadata: what others must know of it before it says anything. New ones may be added; whoever does
// not know them leaves them alone.
const (
	metaRole = protowire.Number(iota + 1)
	metaService
	metaLeaseTTL // milliseconds
	metaVersion
)

// The longest that Service and Version may be. They keep the metadata under memberlist's 512 bytes.
const (
	maxService = 300 // a host name of 253, and a port
	maxVersion = 32
)

func encodeMeta(m dynmesh.Member) []byte {
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
	return b
}

func decodeMeta(b []byte) (m dynmesh.Member, err error) {
	err = eachField(b, func(n protowire.Number, text []byte, v uint64) {
		switch n {
		case metaRole:
			m.Role = dynmesh.Role(text)
		case metaService:
			m.Service = string(text)
		case metaLeaseTTL:
			m.LeaseTTL = time.Duration(min(v, uint64(maxLeaseTTL/time.Millisecond))) * time.Millisecond
		case metaVersion:
			m.Version = string(text)
		}
	})
	if err == nil && m.Role == "" {
		err = errors.New("its metadata has no role")
	}
	return m, err
}
