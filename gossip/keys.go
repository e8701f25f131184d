package gossip

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/swim"
)

// Identity is who a member is: a key that it makes when it starts, and the ID that follows from the
// key. It is safe for concurrent use.
type Identity = identity.Identity

// NewIdentity returns a new one. Its ID is a worker's instance ID; its key is to be registered with
// the member, as [PublicKey] writes it, and signs all that the member says.
func NewIdentity() *Identity { return identity.New() }

// PublicKey returns an identity's public key as registries hold it.
func PublicKey(i *Identity) string { return identity.Text(i.Public()) }

// keys are the table's.
type keys struct {
	*identity.Identity
	*identity.Verifier
}

// errForged refuses a member that has not said so itself.
var errForged = errors.New("it has not signed what it says of itself")

// admission checks what members say of themselves: name, address and metadata are signed. It is
// asked for each of them in each push/pull, and remembers whom it has checked. It is safe for
// concurrent use.
type admission struct {
	mu       sync.Mutex
	verifier *identity.Verifier
	admitted map[string]swim.Peer // by name
}

// maxAdmitted bounds the memory of an admission.
const maxAdmitted = 1 << 15

func newAdmission(belongs belongs) *admission {
	return &admission{verifier: identity.NewVerifier(belongs), admitted: make(map[string]swim.Peer)}
}

// belongs says whether a public key is the member's; nil is for [identity.IDOf].
type belongs = func(by dynmesh.InstanceID, public []byte) bool

// check reports whether the peer has signed its address and metadata.
func (a *admission) check(p swim.Peer, m *member) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.admitted[p.Name]; ok && known.Addr == p.Addr && string(known.Meta) == string(p.Meta) {
		return nil
	}
	said, signature := cutSignature(p.Meta)
	if !a.verifier.Holds(m.ID, m.key, memberStatement(p.Name, p.Addr, said), signature) {
		return errForged
	}
	if len(a.admitted) >= maxAdmitted {
		clear(a.admitted)
	}
	a.admitted[p.Name] = p
	return nil
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
