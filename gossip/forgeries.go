package gossip

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
)

// rememberForgery is how long a forgery is shown to those who look.
const rememberForgery = 10 * time.Minute

// forgeries are messages that were not signed by the members in whose names they came. They have no
// effect but this.
type forgeries struct {
	total int // since the last time that there were none for rememberForgery
	last  dynmesh.InstanceID
	at    time.Time
	own   bool // it has been said that it is this member whose name somebody uses
}

// expire forgets forgeries that are long past.
func (f *forgeries) expire(now time.Time) {
	if f.total > 0 && now.Sub(f.at) >= rememberForgery {
		*f = forgeries{}
	}
}

// impersonated takes note that something was said in a member's name that it has not signed. The
// first of many is logged, and the first in this member's own name.
func (l *loop) impersonated(id dynmesh.InstanceID, now time.Time) {
	f := &l.forged
	f.total++
	f.at, f.last, l.healthDirty = now, id, true
	switch own := id == l.pool.self.ID; {
	case own && !f.own:
		f.own = true
		l.log.Warn("Somebody speaks in this member's name: nobody believes it, since it is not signed")
	case f.total == 1:
		l.log.WithFields(logrus.Fields{"member": id.String()}).
			Warn("Somebody speaks in another member's name: it is not believed, since it is not signed")
	}
}
