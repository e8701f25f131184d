package swim

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

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
		k, err := NewKeyring(key('a', 32), key('b', 16), key('c', 24))
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

// memberlist's RemoveKey moves keys that others are reading; the race detector sees it where
// install does not take care.
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
