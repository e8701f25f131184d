package frame

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"slices"
	"sync"
)

// As memberlist encrypts: a version, a nonce, and AES-GCM. Members speak the later of its versions.
const (
	sealVersion = 1
	nonceSize   = 12
	tagSize     = 16
)

// Keys are those of a mesh, which may change at any time. They are safe for concurrent use. Nil:
// nothing is encrypted.
type Keys struct {
	now func() [][]byte // the first is the one that encrypts

	// What a key needs for its first packet is as much work as a packet.
	mu   sync.Mutex
	made []sealer
}

// sealer is what a key does.
type sealer struct {
	key []byte
	cipher.AEAD
}

// NewKeys returns those that now says at each time.
func NewKeys(now func() [][]byte) *Keys { return &Keys{now: now} }

// sealers returns those of the keys that there are now, which the caller must not change.
func (k *Keys) sealers() []sealer {
	if k == nil {
		return nil
	}
	keys := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.EqualFunc(keys, k.made, func(key []byte, c sealer) bool { return bytes.Equal(key, c.key) }) {
		return k.made
	}
	k.made = make([]sealer, 0, len(keys)) // others may be using the one before
	for _, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err) // unreachable: the keyring has checked them
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			panic(err) // unreachable: AES has the right size
		}
		k.made = append(k.made, sealer{slices.Clone(key), gcm})
	}
	return k.made
}

// open decrypts as memberlist does. What no key opens is nil, and memberlist refuses it. What a key
// does open is refused here where it has the earlier version, which members never speak, or where
// it is empty: memberlist reads beyond it. The result has memory of its own.
func open(keys []sealer, b, with []byte) (plain []byte, err error) {
	if len(b) < 1+nonceSize+tagSize || b[0] > sealVersion {
		return nil, nil
	}
	for _, key := range keys {
		plain, err := key.Open(nil, b[1:1+nonceSize], b[1+nonceSize:], with)
		switch {
		case err != nil:
			continue // another key's
		case b[0] != sealVersion || len(plain) == 0:
			return nil, ErrMalformed
		}
		return plain, nil
	}
	return nil, nil
}

// seal appends to b what open opens.
func (k sealer) seal(b, plain, with []byte) []byte {
	b = append(b, sealVersion)
	nonce := len(b)
	b = append(b, make([]byte, nonceSize)...)
	_, _ = rand.Read(b[nonce:]) // it never fails
	return k.Seal(b, b[nonce:], plain, with)
}
