package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"net/netip"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// identityOf is a member whose ID is one that a test can name. Its key is a real one.
func identityOf(id dynmesh.InstanceID) *Identity {
	seed := binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), uint64(id))
	return identity.Of(id, ed25519.NewKeyFromSeed(seed))
}

// belongsTo says what [identity.IDOf] says of others.
func belongsTo(id dynmesh.InstanceID, public []byte) bool {
	return bytes.Equal(public, identityOf(id).Public())
}

// keysOf are those of such a member.
func keysOf(id dynmesh.InstanceID) table.Keys {
	return keys{identityOf(id), identity.NewVerifier(belongsTo)}
}

// metaOf is the metadata of a member with ID 1.
func metaOf(m dynmesh.Member) []byte {
	return encodeMeta(identityOf(1), "1-1", netip.MustParseAddrPort("10.0.0.1:7946"), m)
}

func peerOf(name string, addr netip.AddrPort, meta []byte) swim.Peer {
	return swim.Peer{Name: name, Addr: addr, Meta: meta}
}
