package probe

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// handover is a target that has become somebody else's.
type handover struct {
	target  dynmesh.InstanceID
	foreign bool
}

// handovers are those whose watches go on for a while.
type handovers struct {
	timers.Queue[time.Duration, handover]
	timers map[handover]*handoverTimer
}

type handoverTimer = timers.Timer[time.Duration, handover]

// endAt has a watch go on until then, whatever was said of it before.
func (hs *handovers) endAt(h handover, at time.Duration) {
	t := hs.timers[h]
	if t == nil {
		t = &handoverTimer{Value: h}
		hs.timers[h] = t
	}
	hs.Set(t, at)
}

// pop takes out the first one whose watch may end at now; false: there is none.
func (hs *handovers) pop(now time.Duration) (h handover, due bool) {
	h, due = hs.Pop(now)
	delete(hs.timers, h)
	return h, due
}
