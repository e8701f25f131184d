package gossip

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh/gossip/table"
)

// delegate is what memberlist calls, from many goroutines, and mostly while it holds its locks: so nothing here calls memberlist,
// waits, or keeps a buffer.
type delegate struct {
	inbox   *inbox
	metrics *metrics
	meta    []byte
	outbox  *outbox
}

// outbox is what the loop has prepared for memberlist to fetch.
type outbox struct {
	state   atomic.Pointer[[]byte] // a State message
	members atomic.Int64           // alive ones

	mu    sync.Mutex
	queue table.BroadcastQueue
	left  map[string]time.Time // names of members that left, and when
}

// Bounds of the memory for members that left.
const (
	maxLeft      = 4096
	rememberLeft = time.Hour
)

// leave takes note of a member that said good-bye: nobody comes back under its name, but for old packets that somebody sends again.
func (o *outbox) leave(name string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n, at := range o.left {
		if now.Sub(at) >= rememberLeft || len(o.left) >= maxLeft {
			delete(o.left, n)
		}
	}
	set(&o.left, name, now)
}

func (o *outbox) hasLeft(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.left[name]
	return ok
}

// mark takes entries to be passed on; late ones were learnt by a comparison, so that others may know them.
func (o *outbox) mark(late bool, entries ...table.Entry) {
	if len(entries) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if late {
		o.queue.AddLow(entries...)
	} else {
		o.queue.Add(entries...)
	}
}

func (o *outbox) takeLarge() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Oversized()
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len()
}

// NodeMeta is for memberlist.
func (d *delegate) NodeMeta(int) []byte { return d.meta }

// NotifyMsg is for memberlist. The buffer is another packet's after it.
func (d *delegate) NotifyMsg(b []byte) { d.inbox.message(bytes.Clone(b)) }

// leastRoom is what must be left of a packet. Less is left where memberlist's own messages fill it, and observations that did
// not fit again and again would be taken for too long.
const leastRoom = 300

// GetBroadcasts is for memberlist.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	if limit-overhead < leastRoom {
		return nil
	}
	d.outbox.mu.Lock()
	defer d.outbox.mu.Unlock()
	return d.outbox.queue.Packet(overhead, limit, int(d.outbox.members.Load()))
}

// LocalState is for memberlist.
func (d *delegate) LocalState(bool) []byte { return *d.outbox.state.Load() }

// MergeRemoteState is for memberlist.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.inbox.message(bytes.Clone(b)) }

// NotifyJoin is for memberlist.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.inbox.node(nodeEvent{copyNode(n), true}) }

// NotifyUpdate is for memberlist.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.inbox.node(nodeEvent{copyNode(n), true}) }

// NotifyLeave is for memberlist.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.inbox.node(nodeEvent{copyNode(n), false}) }

// NotifyAlive is for memberlist: what it refuses here does not get in, however it came.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := parseNodeName(n.Name)
	if err == nil {
		_, err = decodeMeta(n.Meta)
	}
	if err == nil && (len(n.Addr) != 4 && len(n.Addr) != 16 || n.Port == 0) {
		err = errors.New("its address is none")
	}
	// One member with versions out of line would have all others refuse each other's push/pull, for as long as they remember it.
	if err == nil && (n.PMin > 2 || n.PMax < 2 || n.PCur != 2 || n.DMin > delegateVersion || n.DMax < delegateVersion || n.DCur != delegateVersion) {
		err = errors.New("it speaks another version")
	}
	if err != nil {
		d.metrics.reject("member")
	} else if d.outbox.hasLeft(n.Name) {
		err = errors.New("it has left") // some have not heard yet, so it is not counted
	}
	return err
}

// AckPayload is for memberlist.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete is for memberlist: its own probe was answered, over UDP.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.inbox.notice(n.Name, udpWorks)
}

func copyNode(n *memberlist.Node) memberlist.Node {
	c := *n
	c.Meta, c.Addr = bytes.Clone(n.Meta), bytes.Clone(n.Addr)
	return c
}
