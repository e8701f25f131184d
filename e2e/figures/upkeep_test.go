package figures

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	upkeepRounds    = 5 // of a minute each
	upkeepProcesses = 4 // how many others one watches is chance: two on average
)

// upkeep measures what a mesh with a key costs a worker's process while nothing happens: what some
// members of one mesh take of a processor, on average, less what a like one takes in the same
// minutes that is alone. They are the program itself; the other members are in this process, and
// real sockets are between them. DYNMESH_BENCH_MEMBERS=n is for another number of members than 50:
// 200 take two processors for minutes to join each other.
func upkeep(t *testing.T) []figure {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("DYNMESH_BENCH_MEMBERS"), "50"))
	if err != nil || n <= upkeepProcesses {
		t.Fatalf("DYNMESH_BENCH_MEMBERS: want a number above %d", upkeepProcesses)
	}
	mesh := startPools(t, n-upkeepProcesses, net.JoinHostPort("127.0.0.1", strconv.Itoa(acceptAll(t))))
	defer mesh.stop()
	server, _ := startEtcd(t)
	elsewhere, _ := startEtcd(t)
	alone := startMember(t, elsewhere.Endpoint(), "alone", gossip.GenerateKey())
	var members []memberProcess
	for i := range upkeepProcesses {
		members = append(members, startMember(t, server.Endpoint(), fmt.Sprint("member ", i), mesh.key, "DYN_GOSSIP_JOIN="+mesh.pools[0].Addr()))
	}
	for _, m := range members {
		m.knows(t, n)
	}
	alone.knows(t, 1)
	<-time.After(3 * time.Minute) // until what there was to say has been said
	ran := func(of ...memberProcess) (each time.Duration) {
		for _, m := range of {
			had, _ := m.Scheduled(t)
			each += had / time.Duration(len(of))
		}
		return each
	}
	var costs, usual []float64
	for range upkeepRounds {
		begun, before, without := time.Now(), ran(members...), ran(alone)
		<-time.After(time.Minute)
		each := func(used time.Duration) float64 { return 1000 * used.Seconds() / time.Since(begun).Seconds() }
		costs, usual = append(costs, each(ran(members...)-before)), append(usual, each(ran(alone)-without))
		t.Logf("%.2f ms/s, %.2f alone", costs[len(costs)-1], usual[len(usual)-1])
	}
	cost := median(costs) - median(usual)
	return []figure{{
		fmt.Sprintf("a quiet worker in a mesh of %d, signed and encrypted: ms of a processor a second, less those of one that is alone", n),
		fmt.Sprintf("%.2f (%.2f less %.2f, medians of %d minutes)", cost, median(costs), median(usual), upkeepRounds), "≤ 0.5", cost <= 0.5,
	}}
}

// memberProcess is a worker with the built-in engine, a process of its own.
type memberProcess struct {
	*testkit.Process
	status string // where its status server is
}

func startMember(t *testing.T, server, name, key string, env ...string) memberProcess {
	t.Helper()
	status := rig.Address(t)
	cmd := exec.Command(testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh"), "worker", "--rpc-host", "127.0.0.1", "--rpc-bind", "127.0.0.1", "--rpc-port", "0",
		"--system-host", "127.0.0.1", "--system-port", strings.TrimPrefix(status, "127.0.0.1:"))
	cmd.Env = append(os.Environ(), append(env, "ETCD_ENDPOINTS="+server, "DYN_GOSSIP_BIND=127.0.0.1:0", "DYN_GOSSIP_KEY="+key)...)
	return memberProcess{testkit.Start(t, name, cmd), status}
}

// knows waits until it knows so many members, itself included.
func (m memberProcess) knows(t *testing.T, members int) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, fmt.Sprint("it knows ", members), func() bool {
		return testkit.Accepts(m.status) && scrape(t, m.status)[`dynmesh_gossip_members{state="alive"}`] == float64(members)
	})
}
