package swim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/aeskey"
	"github.com/dynmesh/dynmesh/internal/secretfile"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// maxKeys bounds a keyring: each packet that no key fits costs one attempt with each.
const maxKeys = 16

// Keyring holds the keys of a mesh. It is safe for concurrent use, and its keys may change while a
// node uses it.
//
// To change the key of a mesh that runs:
//
//  1. add the new key as the last one on every member;
//  2. when all have it, put it first;
//  3. when all have done that, remove the old one.
type Keyring struct {
	source dynmesh.KeySource   // empty: it was not made by a function of this package
	file   string              // empty: nobody reads one
	ring   *memberlist.Keyring // nil: there is to be none
	ready  chan struct{}       // closed once it has a key, or shall have none
	lacks  atomic.Pointer[string]

	mu   sync.Mutex
	read []byte // the file's content when its keys were last installed; nil: never
}

func newKeyring(source dynmesh.KeySource) *Keyring {
	return &Keyring{source: source, ring: &memberlist.Keyring{}, ready: make(chan struct{})}
}

// NewSharedKeyring returns a keyring without keys, which a registry keeps for all members: who
// follows it calls Update. Until then a node that has it is not to start.
func NewSharedKeyring() *Keyring { return newKeyring(dynmesh.KeyOfRegistry) }

// Unencrypted returns what says that there is to be no key.
func Unencrypted() *Keyring {
	k := &Keyring{source: dynmesh.KeyNone, ready: make(chan struct{})}
	close(k.ready)
	return k
}

// NewKeyring returns a keyring of keys in base64, each of 16, 24 or 32 bytes. The first is the one
// that encrypts.
func NewKeyring(keys ...string) (*Keyring, error) {
	parsed, err := parseKeys(keys)
	if err != nil {
		return nil, err
	}
	k := newKeyring(dynmesh.KeyOfOwn)
	k.install(parsed)
	return k, nil
}

// LoadKeyring reads a keyring from a file: one key in base64 on each line, the first is the one
// that encrypts; lines that begin with # do not count. A file that others on the host can use is
// refused: see package internal/secretfile. [Keyring.Follow] looks at the file every 2 s.
func LoadKeyring(file string) (*Keyring, error) {
	k := newKeyring(dynmesh.KeyOfOwn)
	k.file = file
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Empty reports whether there is a keyring that was not made by a function of this package.
func (k *Keyring) Empty() bool { return k != nil && k.source == "" }

// Source says where the keys come from.
func (k *Keyring) Source() dynmesh.KeySource { return k.source }

// Ready returns a channel that is closed once there is a key, or there is to be none.
func (k *Keyring) Ready() <-chan struct{} { return k.ready }

// Lacks says why whoever keeps the keys has none to give now, for people; empty: it has. Those that
// were there before are used on.
func (k *Keyring) Lacks() string {
	if why := k.lacks.Load(); why != nil {
		return *why
	}
	return ""
}

// Update takes over the keys of [NewSharedKeyring], as NewKeyring takes them; or, with an error,
// why there are none.
func (k *Keyring) Update(keys []string, err error) {
	var parsed [][]byte
	if err == nil {
		parsed, err = parseKeys(keys)
	}
	if err != nil {
		k.lacks.Store(new(err.Error()))
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.install(parsed)
	k.lacks.Store(nil)
}

// encrypts says whether a node that has the keyring encrypts.
func (k *Keyring) encrypts() bool { return k != nil && k.source != dynmesh.KeyNone }

// Reload reads the keyring's file again; it does nothing where there is none. When it fails the
// keys stay as they were.
func (k *Keyring) Reload() error {
	_, err := k.reload()
	return err
}

func (k *Keyring) reload() (changed bool, err error) {
	if k.file == "" {
		return false, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	content, err := secretfile.Read(k.file)
	if err != nil {
		return false, fmt.Errorf("read keyring: %w", err)
	}
	if k.read != nil && bytes.Equal(content, k.read) {
		return false, nil
	}
	var lines []string
	scanner := bufio.NewScanner(bytes.NewReader(content))
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	keys, err := parseKeys(lines)
	if err != nil {
		return false, fmt.Errorf("keyring %s: %w", k.file, err)
	}
	k.install(keys)
	k.read = content
	return true, nil
}

// parseKeys never puts a key into an error.
func parseKeys(lines []string) ([][]byte, error) {
	if len(lines) == 0 {
		return nil, errors.New("no key in it")
	}
	if len(lines) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, want at most %d", len(lines), maxKeys)
	}
	var keys [][]byte
	for i, line := range lines {
		key, err := aeskey.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("key %d %w", i+1, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// install makes keys the ring's, while packets are encrypted and decrypted with it.
//
// memberlist hands its slice of keys to readers without a copy, and RemoveKey moves the keys behind
// the removed one in place, under the readers' eyes. So what has to go is first brought to the end,
// where nothing needs to move: UseKey, which makes a new slice, brings to the front what stays. Of
// what is new only the first is there before that, and the rest comes after, so that nothing is
// encrypted with a key that others may not have yet.
func (k *Keyring) install(keys [][]byte) {
	has := func(in [][]byte, key []byte) bool {
		return slices.ContainsFunc(in, func(other []byte) bool { return bytes.Equal(key, other) })
	}
	must := func(err error) {
		if err != nil {
			panic(err) // unreachable: parseKeys has checked them, and what is used or removed is there
		}
	}
	old := slices.Clone(k.ring.GetKeys())
	must(k.ring.AddKey(keys[0]))
	for _, key := range slices.Backward(keys) {
		if has(old, key) {
			must(k.ring.UseKey(key))
		}
	}
	must(k.ring.UseKey(keys[0]))
	for now := slices.Clone(k.ring.GetKeys()); len(now) > 0 && !has(keys, now[len(now)-1]); now = now[:len(now)-1] {
		must(k.ring.RemoveKey(now[len(now)-1]))
	}
	for _, key := range keys {
		must(k.ring.AddKey(key))
	}
	if len(old) == 0 {
		close(k.ready)
	}
}

// keyfileInterval is how often the keyring's file is read. It is small, and its directory may be
// one whose changes no notification tells of.
const keyfileInterval = 2 * time.Second

// Follow installs what the file says until ctx ends. A file that cannot be used is logged once.
func (k *Keyring) Follow(ctx context.Context, log *logrus.Entry) {
	if k.file == "" {
		return
	}
	var last string
	for timers.Sleep(ctx, keyfileInterval) == nil {
		changed, err := k.reload()
		switch {
		case err != nil && err.Error() != last:
			last = err.Error()
			log.WithField("err", err).Error("Cannot use the keyring's file: going on with the keys that were there")
		case err == nil:
			last = ""
		}
		if changed {
			log.WithField("keys", len(k.ring.GetKeys())).Info("Keys changed")
		}
	}
}
