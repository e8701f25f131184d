package address_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/address"
)

func TestNotedIsBoundedAndForgets(t *testing.T) {
	var r address.Noted
	now := time.Unix(1_800_000_000, 0)
	if n, first := r.Now(now); n != 0 || first != "" {
		t.Errorf("of none: got %d, %q", n, first)
	}
	for i := range 5000 {
		r.Note(fmt.Sprintf("h%04d:80", i), address.LinkLocal, now)
	}
	n, first := r.Now(now)
	if n > 1024 || !strings.HasPrefix(first, "h0000:80 is a link-local address") {
		t.Errorf("got %d, %q; want 1,024 at most, and the first by name", n, first)
	}
	r.Note("h0001:80", address.LinkLocal, now.Add(4*time.Minute))
	if n, first := r.Now(now.Add(6 * time.Minute)); n != 1 || !strings.HasPrefix(first, "h0001:80") {
		t.Errorf("later: got %d, %q; want the one that was named again", n, first)
	}
	r.Forget("h0001:80")
	if n, first := r.Now(now.Add(6 * time.Minute)); n != 0 {
		t.Errorf("what was taken back is still noted: %d, %q", n, first)
	}
}
