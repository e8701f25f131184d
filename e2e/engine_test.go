package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
)

// An engine runs programs: as containers, or as plain processes. The scenarios know only these
// interfaces.
type engine interface {
	String() string // said in the output, so that nobody takes one kind of run for the other
	newSite(t *testing.T) site
	// file is a program on this machine, for commands that people run.
	file(of binary) string
}

// A site is the private ground of one test. What stands on it is removed when the test ends.
type site interface {
	// reserve says where a program will be, before it runs, so that others can be told.
	reserve(name string, ports ...port) *place
	// launch starts a program at its place.
	launch(spec spec) (program, error)
}

// A port is what a program serves something at, and its number where each program has an address of
// its own.
type port struct {
	name   string
	number int
}

var (
	httpPort    = port{"http", 8000}    // a frontend's
	systemPort  = port{"system", 8081}  // a worker's status server
	rpcPort     = port{"rpc", 9345}     // a worker's requests
	controlPort = port{"control", 9400} // the knobs of a worker's mock engine
	clientPort  = port{"client", 2379}  // etcd's
	peerPort    = port{"peer", 2380}    // etcd's
	gossipPort  = port{"gossip", 7946}  // memberlist's
)

// A place is where one program runs.
type place struct {
	name  string
	bind  string // the address to listen at
	host  string // the address at which the test reaches it
	peer  string // the address at which other programs reach it
	ports map[string]int
}

func (p *place) number(port port) string { return strconv.Itoa(p.ports[port.name]) }
func (p *place) listen(port port) string { return net.JoinHostPort(p.bind, p.number(port)) }

// addr is host:port for the test, and reach is host:port for other programs.
func (p *place) addr(port port) string  { return net.JoinHostPort(p.host, p.number(port)) }
func (p *place) reach(port port) string { return net.JoinHostPort(p.peer, p.number(port)) }

type binary int

const (
	etcdBinary binary = iota
	dynmeshBinary
	bareBinary // memberlist alone, as a baseline
)

// A spec is what to run.
type spec struct {
	place  *place
	binary binary
	args   []string
	env    map[string]string
	// etcd holds the client addresses (host:port) of the servers that the program uses. It gets
	// ETCD_ENDPOINTS from them, by a way that can be cut.
	etcd []string
}

// A program is running, or has been. Its methods may be called by one goroutine at a time, but for
// state and logs.
type program interface {
	where() *place
	pid() (int, error) // on the machine that runs it
	signal(sig os.Signal) error
	// start runs it again, at the same place, on the disk it had or on an empty one.
	start(disk disk) error
	// cutOff drops everything between it and etcd without telling either, until reconnect.
	cutOff() error
	reconnect() error
	state() (state, error)
	logs() (string, error)
}

type disk bool

const (
	sameDisk  disk = false
	emptyDisk disk = true
)

func (d disk) String() string {
	if d == emptyDisk {
		return "an empty disk"
	}
	return "the same disk"
}

// state is a program's life so far.
type state struct {
	running  bool
	exitCode int    // once it has ended; -1 when a signal ended it
	life     string // differs from one process to the next that stands for this program
}

func (s state) String() string {
	if s.running {
		return "running as " + s.life
	}
	return fmt.Sprintf("ended with exit code %d (was %s)", s.exitCode, s.life)
}
