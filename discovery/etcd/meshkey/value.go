package meshkey

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh/internal/aeskey"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Path is the key in etcd under which the value stands.
const Path = "v1/dynmesh/mesh"

// Bounds of a value.
const (
	maxValue = 4 << 10 // bytes
	maxKeys  = 16      // each packet that no key fits costs one attempt with each
)

// Value is the keys of a mesh. All of them are understood. A rotation leads from one key to another
// in steps, at each of which those who are a step behind understand all that is said:
//
//	key | next | old | what
//	--- | ---- | --- | ------------------------------------------
//	a   |      |     | at rest
//	a   | b    |     | b is made known; nobody uses it
//	b   |      | a   | b is used; who has not heard of it uses a
//	b   |      |     | at rest
type Value struct {
	Key  string   `json:"key"`            // in base64, as the others; it encrypts
	Next string   `json:"next,omitempty"` // it will
	Old  []string `json:"old,omitempty"`  // they did

	// Made is when a member made the key that knew of none, in Unix seconds. 0: the key was put there
	// by people, or stands there anew.
	Made int64 `json:"made,omitempty"`
}

// New returns the value of a mesh that has had no key.
func New() Value { return Value{Key: aeskey.Generate()} }

// madeAt returns a New one that says when it was made.
func madeAt(now time.Time) Value {
	v := New()
	v.Made = now.Unix()
	return v
}

// stands returns the value as it is put where etcd has lost it: it was not made just then.
func (v Value) stands() Value {
	v.Made = 0
	return v
}

// gives returns until when those who have keys give way to none of the value's; zero: they do at
// once. They stand by theirs where somebody knew none of them, and has made another just now.
func (v Value) gives(has Value, now time.Time) time.Time {
	made := time.Unix(v.Made, 0)
	if v.Made == 0 || slices.ContainsFunc(v.Keys(), func(key string) bool { return slices.Contains(has.Keys(), key) }) {
		return time.Time{}
	}
	if off := now.Sub(made); off >= Contested || off <= -Contested {
		return time.Time{}
	}
	return made.Add(Contested)
}

// Decode reads what [Value.Encode] writes. Its errors quote nothing.
func Decode(b []byte) (Value, error) {
	if len(b) > maxValue {
		return Value{}, fmt.Errorf("it has %d bytes, more than %d", len(b), maxValue)
	}
	var v Value
	if err := json.Unmarshal(b, &v); err != nil {
		return Value{}, errors.New(`it is no JSON object with a "key" in base64`)
	}
	keys := v.Keys()
	if len(keys) > maxKeys {
		return Value{}, fmt.Errorf("it has %d keys, more than %d", len(keys), maxKeys)
	}
	seen := make(map[string]bool, len(keys))
	for n, key := range keys {
		raw, err := aeskey.Parse(key)
		if err != nil {
			return Value{}, fmt.Errorf("key %d of %d %w", n+1, len(keys), err)
		}
		if seen[string(raw)] {
			return Value{}, fmt.Errorf("key %d of %d stands there twice", n+1, len(keys))
		}
		seen[string(raw)] = true
	}
	return v, nil
}

// Encode returns the value as etcd holds it.
func (v Value) Encode() string { return string(text.JSON(v)) }

// Keys returns all keys, the one that encrypts first.
func (v Value) Keys() []string {
	keys := []string{v.Key}
	if v.Next != "" {
		keys = append(keys, v.Next)
	}
	return append(keys, v.Old...)
}

// Equal says whether two values have the same keys.
func (v Value) Equal(o Value) bool {
	return v.Key == o.Key && v.Next == o.Next && slices.Equal(v.Old, o.Old)
}

// String tells how many keys there are, and none of them.
func (v Value) String() string { return fmt.Sprintf("%d keys", len(v.Keys())) }

// GoString does as well.
func (v Value) GoString() string { return v.String() }

// Resting says that no rotation is under way.
func (v Value) Resting() bool { return v.Next == "" && len(v.Old) == 0 }

// Step names the step of a rotation at which the value is, so that members can say that they have
// taken it; empty: it rests. It is a hash: a random key cannot be found by it.
func (v Value) Step() string {
	if v.Resting() {
		return ""
	}
	sum := sha256.Sum256([]byte("dynmesh step of a rotation\x00" + v.Encode()))
	return hex.EncodeToString(sum[:8])
}

// advance returns the value of the next step. From rest, a rotation begins.
func (v Value) advance() Value {
	switch {
	case v.Next != "":
		return Value{Key: v.Next, Old: append([]string{v.Key}, v.Old...)}
	case len(v.Old) > 0:
		return Value{Key: v.Key}
	}
	return Value{Key: v.Key, Next: aeskey.Generate()}
}
