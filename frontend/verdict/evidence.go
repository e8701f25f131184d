package verdict

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Evidence is all that a frontend knows of one instance.
type Evidence struct {
	Registry   Registry // what lists it, or does not
	Registered bool     // it is listed, by what was last read
	Read       bool     // the registry has been read, so that not being Registered means something

	Gossip     bool // this process takes part in gossip; if not, nothing below counts but Worker.Dynmesh
	Score      int  // memberlist's opinion of this process: 0 is well, see Unwell
	Worker     Worker
	Own        *dynmesh.Report // the worker's word of this instance, in its present life; nil: none
	Unreported bool            // Own is nil, and the worker has had the time to send it, or has taken it back
	Unspoken   bool            // Own is nil, the worker is to gossip, and it has the time to speak yet, or nobody has reached it
	Paths      []Path          // at most one of each watcher

	// Alone says that no member is left who could have another opinion than those in Paths: all but
	// this frontend are gone, or somebody who is alive cannot reach them.
	Alone bool

	UnreachableSince time.Time // since when it has been Unreachable, by this process's clock; zero: it is not
}

// Worker is what is known of the process that serves the instance.
type Worker struct {
	State    dynmesh.MemberState // empty: it is no member
	Since    time.Time           // when State began, by this process's clock
	LeaseTTL time.Duration       // 0: not known
	Process  *dynmesh.Report     // its word of itself, in its present life; nil: none
	Dynmesh  bool                // the registry says that it runs dynmesh
	Gossips  bool                // the registry says that it takes part in gossip, too
	Loopback string              // its address, where that is one of its own host's loopback, and the host is another; empty: it is not
}

// Path is what one watcher says of the way to the instance, and of a worker that is no member, what
// the worker's system port told it, or the canaries that it sent the worker.
type Path struct {
	Kind                dynmesh.Kind        // KindSystem: it asked the system port; KindPinned: it sent canaries; KindPath, the default: neither
	Draining            bool                // KindSystem: the worker will leave
	By                  string              // the watcher, for people
	State               dynmesh.MemberState // of the watcher; empty: it is no member
	Unregistered        bool                // the watcher is registered nowhere, where members are
	ObserverUnreachable bool                // somebody who is alive cannot reach the watcher, which is another process
	Stale               bool                // it is about a former life of the worker
	Finding             dynmesh.Finding     // Pass or Fail
	Reason              dynmesh.Reason
	Detail              string
	Latency             time.Duration // KindPinned: of the first canary that passed
	At                  time.Time     // by the watcher's clock
}

// Counts says whether the finding is believed: that of a watcher that is alive, and whom the
// registry vouches for, about this life. Anybody may become a member. A suspect watcher may be the
// one that is cut off, so what it says counts for an instance only; and one that others have lost
// may have died with the instance, so what it says does not.
func (p Path) Counts() bool {
	if p.Stale || p.Unregistered {
		return false
	}
	switch p.Finding {
	case dynmesh.Pass:
		return (p.State == dynmesh.Alive || p.State == dynmesh.Suspect) && !p.ObserverUnreachable
	case dynmesh.Fail:
		return p.State == dynmesh.Alive
	}
	return false
}

// reaches says whether the observer got through: what answers that it is not ready does answer.
func (p Path) reaches() bool { return p.Finding == dynmesh.Pass || p.unready() }
