package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// Where the system has no authorities, as in the image, there are some all the same. The system's
// are looked for once in a process, so this is one of its own.
func TestRootsWithoutASystemsOwn(t *testing.T) {
	const inner = "DYNMESH_TEST_ROOTS"
	if os.Getenv(inner) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inner+"=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		t.Errorf("got no authorities (%v), want those of the program", err)
	}
}
