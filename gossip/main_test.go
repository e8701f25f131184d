package gossip

import (
	"testing"

	"go.uber.org/goleak"
)

// memberlist's last probe may end seconds after the pool has.
func TestMain(m *testing.M) {
	prepare()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}
