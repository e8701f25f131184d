package grey

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// oneWay is a network namespace that packets can be kept from leaving. It is connected to the
// test's by two addresses.
type oneWay struct {
	t         testing.TB
	name      string
	near, far string
	relay     string // host:port near, behind which etcd is
}

var networks atomic.Int64

// newOneWay makes one. It takes root; where that is missing, the cell is left out.
func newOneWay(t testing.TB) *oneWay {
	t.Helper()
	if os.Geteuid() != 0 {
		install.LeftOut(t, "a network namespace takes root")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			install.LeftOut(t, "%v", err)
		}
	}
	n := networks.Add(1)
	block := (int64(os.Getpid())*31 + n) % (1 << 14) // of four addresses, in a net that is for benches
	o := &oneWay{t: t, name: fmt.Sprintf("grey%d-%d", os.Getpid(), n)}
	o.near, o.far = fmt.Sprintf("198.18.%d.%d", block/64, block%64*4+1), fmt.Sprintf("198.18.%d.%d", block/64, block%64*4+2)
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", o.name).CombinedOutput(); err != nil {
		install.LeftOut(t, "ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", o.name).Run() }) // and with it its link
	link := fmt.Sprintf("g%d.%d", os.Getpid(), n)
	o.run("ip", "link", "add", link, "type", "veth", "peer", "name", "grey", "netns", o.name)
	o.run("ip", "address", "add", o.near+"/30", "dev", link)
	o.run("ip", "link", "set", link, "up")
	o.run("ip", "-n", o.name, "address", "add", o.far+"/30", "dev", "grey")
	o.run("ip", "-n", o.name, "link", "set", "grey", "up")
	o.run("ip", "-n", o.name, "link", "set", "lo", "up")
	return o
}

func (o *oneWay) run(command ...string) {
	o.t.Helper()
	if out, err := exec.CommandContext(o.t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		o.t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

// place is within.
func (o *oneWay) place() rig.Place {
	return rig.Place{Host: o.far, Enter: []string{"ip", "netns", "exec", o.name}}
}

// etcd is the URL of a fleet's etcd for those within.
func (o *oneWay) etcd(f *rig.Fleet) (url string) {
	o.t.Helper()
	o.relay = testkit.StartNetworkAt(o.t, net.JoinHostPort(o.near, "0"), strings.TrimPrefix(f.Etcd.Endpoint(), "http://")).Addr()
	return "http://" + o.relay
}

// silence keeps all packets in, but for those to etcd.
func (f *fleet) silence() {
	f.t.Helper()
	o := f.network
	_, port, _ := strings.Cut(o.relay, ":")
	within := []string{"ip", "netns", "exec", o.name, "iptables", "-A", "OUTPUT"}
	for _, rule := range [][]string{{"-o", "lo", "-j", "ACCEPT"}, {"-d", o.near, "-p", "tcp", "--dport", port, "-j", "ACCEPT"}, {"-j", "DROP"}} {
		o.run(slices.Concat(within, rule)...)
	}
}
