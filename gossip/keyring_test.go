package gossip

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// key returns a key of n bytes, in base64.
func key(c byte, n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{c}, n)) }

func keysOf(k *Keyring) string {
	var b strings.Builder
	for _, key := range k.ring.GetKeys() {
		b.WriteByte(key[0])
	}
	return b.String()
}

func keyfile(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	writeKeys(t, file, lines...)
	return file
}

func writeKeys(t *testing.T, file string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyringRefusesWhatIsNoKey(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		want string
	}{
		"none":       {nil, "no key in it"},
		"not base64": {[]string{key('a', 32), "sesame!"}, "key 2 is not base64"},
		"too short":  {[]string{key('a', 8)}, "key 1 has 8 bytes: want 16, 24 or 32"},
		"too many":   {slices.Repeat([]string{key('a', 32)}, 17), "it has 17 keys, want at most 16"},
	} {
		_, err := NewKeyring(c.keys...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		_, err = LoadKeyring(keyfile(t, c.keys...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, in a file: got %v, want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: the error has the key in it: %v", name, err)
		}
	}
	if _, err := LoadKeyring(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was loaded")
	}
	for range 3 {
		k, err := NewKeyring(GenerateKey(), key('b', 16), key('c', 24))
		if err != nil || len(k.ring.GetKeys()) != 3 {
			t.Errorf("got %v, %v", k, err)
		}
	}
}

func TestKeyringFollowsItsFile(t *testing.T) {
	file := keyfile(t, "# the first", key('a', 32), "", key('b', 16))
	k, err := LoadKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := keysOf(k); got != "ab" {
		t.Fatalf("keys are %s", got)
	}
	steps := []struct {
		lines []string
		want  string
		fails bool
	}{
		{[]string{key('a', 32), key('b', 16), key('c', 32)}, "abc", false},
		{[]string{key('c', 32), key('a', 32), key('b', 16)}, "cab", false},
		{[]string{key('c', 32)}, "c", false},
		{[]string{"garbage"}, "c", true},
		{nil, "c", true},
		{[]string{key('d', 32), key('e', 32), key('f', 32)}, "def", false}, // all new
		{[]string{key('f', 32), key('d', 32), key('g', 32)}, "fdg", false},
		{[]string{key('g', 32), key('g', 32)}, "g", false},
	}
	for i, s := range steps {
		writeKeys(t, file, s.lines...)
		if err := k.Reload(); (err != nil) != s.fails {
			t.Errorf("step %d: %v", i, err)
		}
		if got := keysOf(k); got != s.want {
			t.Errorf("step %d: keys are %s, want %s", i, got, s.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); err == nil || keysOf(k) != "g" {
		t.Errorf("without the file: %v, keys %s", err, keysOf(k))
	}
	without, err := NewKeyring(key('a', 32))
	if err != nil || without.Reload() != nil {
		t.Errorf("a keyring without a file does not reload: %v", err)
	}
}

// memberlist's RemoveKey moves keys that others are reading; the race detector sees it where install does not take care.
func TestKeysChangeWhileTheyAreUsed(t *testing.T) {
	k, err := NewKeyring(key('a', 32), key('b', 32), key('c', 32))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				for _, key := range k.ring.GetKeys() {
					if memberlist.ValidateKey(key) != nil {
						t.Error("a key was torn")
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 200 {
		var keys [][]byte
		for j := range 4 {
			keys = append(keys, bytes.Repeat([]byte{byte('a' + (i*3+j*5)%7)}, 32))
		}
		k.install(keys)
	}
	close(stop)
	wg.Wait()
}

func TestPoolsWithKeys(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		files := make([]string, 3)
		peers := m.starts(3, func(c *Config) {
			files[c.ID-1] = keyfile(t, key('a', 32))
			c.Keyring, _ = LoadKeyring(files[c.ID-1])
		})
		m.joined(peers...)
		// The new key comes to all, then is used by all, then the old one goes; at each step some are ahead.
		for _, lines := range [][]string{
			{key('a', 32), key('b', 32)}, {key('b', 32), key('a', 32)}, {key('b', 32)},
		} {
			for _, f := range files {
				writeKeys(t, f, lines...)
				m.pass(5 * time.Second)
			}
			for _, p := range peers {
				if n := p.alive(); n != 3 {
					t.Errorf("%s sees %d members with %d keys", p.Self().ID, n, len(lines))
				}
			}
		}
		m.pass(time.Minute)
		for _, p := range peers {
			if n, rejected := p.alive(), rejectedBy(p); n != 3 || len(rejected) > 0 || keysOf(p.cfg.Keyring) != "b" {
				t.Errorf("%s sees %d members with key %s, rejected %v", p.Self().ID, n, keysOf(p.cfg.Keyring), rejected)
			}
			if !strings.Contains(p.log.String(), "Keys changed") {
				t.Errorf("nothing of keys in the log: %s", p.log)
			}
		}
		// A file that cannot be used is told once, and changes nothing.
		writeKeys(t, files[0], "garbage")
		m.pass(time.Minute)
		if n := strings.Count(peers[0].log.String(), "Cannot use the keyring's file"); n != 1 || peers[0].alive() != 3 {
			t.Errorf("told %d times", n)
		}
	})
}
