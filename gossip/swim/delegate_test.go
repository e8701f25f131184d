package swim

import (
	"testing"

	"github.com/hashicorp/memberlist"
)

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) Reject(string)        {}
func (uncounted) Received(string, int) {}
func (uncounted) Sent(string, int)     {}

// recorded is a delegate that lets everybody in and keeps what it is given.
type recorded struct{ received *[][]byte }

func (r recorded) Receive(b []byte)           { *r.received = append(*r.received, b) }
func (recorded) PeerChanged(Peer, bool)       {}
func (recorded) Signal(string, Signal)        {}
func (recorded) TripwireOpened()              {}
func (recorded) Admit(Peer) error             { return nil }
func (recorded) Broadcasts(int, int) [][]byte { return nil }
func (recorded) State() []byte                { return nil }

// A buffer is memberlist's, and another packet's afterwards.
func TestDelegateKeepsNoBuffer(t *testing.T) {
	var received [][]byte
	d := &delegate{Delegate: recorded{&received}, counters: uncounted{}}
	buffer := []byte("packet")
	d.NotifyMsg(buffer)
	d.MergeRemoteState(buffer, true)
	copy(buffer, "another")
	for _, b := range received {
		if string(b) != "packet" {
			t.Errorf("it holds %q", b)
		}
	}
}

// memberlist refuses a push/pull with whoever knows of a member that is out of line, itself
// included.
func TestMembersOutOfLineAreRefused(t *testing.T) {
	in := memberlist.Node{
		Name: "7-1", Addr: []byte{10, 0, 0, 7}, Port: 7946, Meta: []byte("role"),
		PMin: 1, PMax: 5, PCur: 2, DMin: delegateVersion, DMax: delegateVersion, DCur: delegateVersion,
	}
	d := &delegate{Delegate: recorded{}, counters: uncounted{}}
	if err := d.NotifyAlive(&in); err != nil {
		t.Errorf("refused: %v", err)
	}
	for name, edit := range map[string]func(*memberlist.Node){
		"its protocol":     func(n *memberlist.Node) { n.PCur = 9 },
		"no protocol":      func(n *memberlist.Node) { n.PCur = 0 },
		"the lowest":       func(n *memberlist.Node) { n.PMin = 3 },
		"the highest":      func(n *memberlist.Node) { n.PMax = 1 },
		"our own protocol": func(n *memberlist.Node) { n.DCur = delegateVersion + 1 },
		"no port":          func(n *memberlist.Node) { n.Port = 0 },
	} {
		out := in
		edit(&out)
		if d.NotifyAlive(&out) == nil {
			t.Errorf("%s out of line: let in", name)
		}
	}
}
