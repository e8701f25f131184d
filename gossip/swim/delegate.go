package swim

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, from many goroutines, and mostly while it holds its locks: so
// nothing here calls memberlist, waits, or keeps a buffer of memberlist's.
type delegate struct {
	Delegate
	counters Counters
	meta     []byte
}

// leastRoom is what must be left of a packet. Less is left where memberlist's own messages fill it,
// and broadcasts that did not fit again and again would be taken for too long.
const leastRoom = 300

// NodeMeta is for memberlist.
func (d *delegate) NodeMeta(int) []byte { return d.meta }

// NotifyMsg is for memberlist. The buffer is another packet's after it.
func (d *delegate) NotifyMsg(b []byte) { d.Receive(bytes.Clone(b)) }

// GetBroadcasts is for memberlist.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	if limit-overhead < leastRoom {
		return nil
	}
	return d.Broadcasts(overhead, limit)
}

// LocalState is for memberlist.
func (d *delegate) LocalState(bool) []byte { return d.State() }

// MergeRemoteState is for memberlist.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.Receive(bytes.Clone(b)) }

// NotifyJoin is for memberlist.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.PeerChanged(peerOf(n), true) }

// NotifyUpdate is for memberlist.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.PeerChanged(peerOf(n), true) }

// NotifyLeave is for memberlist.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.PeerChanged(peerOf(n), false) }

// NotifyAlive is for memberlist: what it refuses here does not get in, however it came.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	if err := checkNode(n); err != nil {
		d.counters.Reject("member")
		return err
	}
	return d.Admit(peerOf(n))
}

// checkNode refuses what memberlist itself would stumble over. One member with versions out of line
// would have all others refuse each other's push/pull, for as long as they remember it.
func checkNode(n *memberlist.Node) error {
	switch {
	case len(n.Addr) != 4 && len(n.Addr) != 16 || n.Port == 0:
		return errors.New("its address is none")
	case n.PMin > 2 || n.PMax < 2 || n.PCur != 2,
		n.DMin > delegateVersion || n.DMax < delegateVersion || n.DCur != delegateVersion:
		return errors.New("it speaks another version")
	}
	return nil
}

// AckPayload is for memberlist.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete is for memberlist: its own probe was answered, over UDP.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.Signal(n.Name, UDPWorks)
}

// peerOf copies what memberlist may change.
func peerOf(n *memberlist.Node) Peer {
	addr, _ := netip.AddrFromSlice(n.Addr) // checkNode has let in only what is one
	return Peer{Name: n.Name, Addr: netip.AddrPortFrom(addr.Unmap(), n.Port), Meta: bytes.Clone(n.Meta)}
}
