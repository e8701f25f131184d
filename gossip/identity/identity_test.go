package identity

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
)

func seeded(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(n)), ed25519.SeedSize)))
}

// The ID of a key is part of the protocol: it must never change.
func TestIDOfAKey(t *testing.T) {
	const want = "3d86f40cd3b910d9"
	if got := IDOf(seeded('a').Public().(ed25519.PublicKey)).String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range 3 {
		i := New()
		if i.ID() == 0 || i.ID() > 1<<63-1 || i.ID() != IDOf(i.Public()) {
			t.Errorf("got ID %s of %x", i.ID(), i.Public())
		}
	}
}

func TestNobodySpeaksForAnother(t *testing.T) {
	a, b := New(), New()
	said := []byte("I am well")
	signature := a.Sign(said)
	for name, c := range map[string]struct {
		by                           dynmesh.InstanceID
		public, statement, signature []byte
		want                         bool
	}{
		"its own word":            {a.ID(), a.Public(), said, signature, true},
		"another's ID":            {b.ID(), a.Public(), said, signature, false},
		"another's key":           {a.ID(), b.Public(), said, signature, false},
		"signed by another":       {a.ID(), a.Public(), said, b.Sign(said), false},
		"of another ID and key":   {a.ID(), b.Public(), said, b.Sign(said), false},
		"another word":            {a.ID(), a.Public(), []byte("I am sick"), signature, false},
		"no key":                  {a.ID(), nil, said, signature, false},
		"no signature":            {a.ID(), a.Public(), said, nil, false},
		"a signature that is cut": {a.ID(), a.Public(), said, signature[:63], false},
	} {
		for _, known := range []bool{false, true} {
			v := NewVerifier(nil)
			if known && !v.Holds(a.ID(), a.Public(), said, signature) {
				t.Fatal("its own word is not believed")
			}
			if got := v.Holds(c.by, c.public, c.statement, c.signature); got != c.want {
				t.Errorf("%s, known %v: got %v, want %v", name, known, got, c.want)
			}
		}
	}
}

// Whoever makes up members costs bounded memory.
func TestVerifierIsBounded(t *testing.T) {
	i := New()
	said := []byte("I am well")
	signature := i.Sign(said)
	v := NewVerifier(func(dynmesh.InstanceID, []byte) bool { return true })
	for n := range maxKnown {
		v.known[dynmesh.InstanceID(n+1)] = [32]byte{}
	}
	if !v.Holds(maxKnown+1, i.Public(), said, signature) || len(v.known) > maxKnown {
		t.Errorf("%d are remembered, want at most %d", len(v.known), maxKnown)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	i := Of(7, seeded('a'))
	if got := fmt.Sprintf("%v %s %+v", i, i, i); got != "7 7 7" {
		t.Errorf("got %s", got)
	}
}

func BenchmarkSign(b *testing.B) {
	i := New()
	for b.Loop() {
		i.Sign(make([]byte, 150))
	}
}

// What a member does with each observation that is new to it.
func BenchmarkHolds(b *testing.B) {
	i, v, said := New(), NewVerifier(nil), make([]byte, 150)
	signature := i.Sign(said)
	for b.Loop() {
		v.Holds(i.ID(), i.Public(), said, signature)
	}
}

// What it does with each member that is new to it.
func BenchmarkIDOf(b *testing.B) {
	public := New().Public()
	for b.Loop() {
		IDOf(public)
	}
}
