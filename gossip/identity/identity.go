package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/dynmesh/dynmesh"
)

// stretch is how many hashes an ID takes: a member does it once for each other one, and who looks
// for a key that has a certain ID, for each that he tries.
const stretch = 1024

// Identity is a member's key, and the ID that follows from it. It is safe for concurrent use.
type Identity struct {
	id  dynmesh.InstanceID
	key ed25519.PrivateKey
}

// New makes a key.
func New() *Identity {
	for {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err) // unreachable: rand.Reader never fails
		}
		if id := IDOf(key.Public().(ed25519.PublicKey)); id != 0 {
			return Of(id, key)
		}
	}
}

// Of returns an identity that others do not believe unless the ID is [IDOf] the key. Tests, which
// want certain IDs, have others believe it all the same.
func Of(id dynmesh.InstanceID, key ed25519.PrivateKey) *Identity { return &Identity{id: id, key: key} }

// ID returns the ID.
func (i *Identity) ID() dynmesh.InstanceID { return i.id }

// Public returns the key by which others know what it signs.
func (i *Identity) Public() []byte {
	return bytes.Clone(i.key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// Sign returns the signature of a statement.
func (i *Identity) Sign(statement []byte) []byte { return ed25519.Sign(i.key, statement) }

// String returns the ID, and never the key.
func (i *Identity) String() string { return i.id.String() }

// IDOf returns the ID of whoever has a key: 63 bits, as etcd's leases have.
func IDOf(public []byte) dynmesh.InstanceID {
	sum := sha256.Sum256(append([]byte("dynmesh instance ID\x00"), public...))
	for range stretch - 1 {
		sum = sha256.Sum256(sum[:])
	}
	return dynmesh.InstanceID(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// Text returns a public key as registries hold it.
func Text(public []byte) string { return base64.StdEncoding.EncodeToString(public) }

// maxKnown bounds what a Verifier remembers: far more than the members of a mesh.
const maxKnown = 1 << 15

// Verifier checks who said what. It remembers whose keys it has seen, which costs more to find out
// than that a signature holds. It is not safe for concurrent use.
type Verifier struct {
	belongs func(dynmesh.InstanceID, []byte) bool
	known   map[dynmesh.InstanceID][ed25519.PublicKeySize]byte
}

// NewVerifier returns one that asks belongs whether a key is a member's; nil is for [IDOf].
func NewVerifier(belongs func(by dynmesh.InstanceID, public []byte) bool) *Verifier {
	if belongs == nil {
		belongs = func(by dynmesh.InstanceID, public []byte) bool { return IDOf(public) == by }
	}
	return &Verifier{belongs: belongs, known: map[dynmesh.InstanceID][ed25519.PublicKeySize]byte{}}
}

// Holds reports whether the key is the member's, and the signature its own of the statement. What
// costs the sender nothing costs little here: a signature that does not hold is found out first.
func (v *Verifier) Holds(by dynmesh.InstanceID, public, statement, signature []byte) bool {
	if len(public) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize {
		return false
	}
	key := [ed25519.PublicKeySize]byte(public)
	known, has := v.known[by]
	if has && known != key || !ed25519.Verify(public, statement, signature) {
		return false
	}
	if has {
		return true
	}
	if !v.belongs(by, public) {
		return false
	}
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[by] = key
	return true
}
