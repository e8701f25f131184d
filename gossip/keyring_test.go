package gossip

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// key returns a key of n bytes, in base64.
func key(c byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{c}, 32)) }

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

func TestPoolsWithKeys(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		files := make([]string, 3)
		peers := m.starts(3, func(c *Config) {
			files[c.Identity.ID()-1] = keyfile(t, key('a'))
			c.Keyring, _ = LoadKeyring(files[c.Identity.ID()-1])
		})
		m.joined(peers...)
		// The new key comes to all, then is used by all, then the old one goes; at each step some
		// are ahead.
		for _, lines := range [][]string{
			{key('a'), key('b')}, {key('b'), key('a')}, {key('b')},
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
			if n, rejected := p.alive(), rejectedBy(p); n != 3 || len(rejected) > 0 {
				t.Errorf("%s sees %d members, rejected %v", p.Self().ID, n, rejected)
			}
			if n := strings.Count(p.log.String(), "Keys changed"); n != 3 || !strings.Contains(p.log.String(), "keys=1") {
				t.Errorf("%d changes of keys are in the log: %s", n, p.log)
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

// A keyring that others can read is refused, and one that becomes so later changes nothing.
func TestKeyringOfEverybody(t *testing.T) {
	file := keyfile(t, key('a'))
	for _, mode := range []os.FileMode{0o644, 0o666, 0o604} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeyring(file); err == nil || !strings.Contains(err.Error(), "can be used by everybody on this host") || strings.Contains(err.Error(), key('a')) {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	k, err := LoadKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	writeKeys(t, file, key('b'))
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); err == nil {
		t.Error("a keyring that everybody can read by now is read again")
	}
}
