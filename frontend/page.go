package frontend

import (
	"strconv"
	"time"

	"github.com/dynmesh/dynmesh"
)

// page is the whole state that requests and scrapes see. It is immutable but for the gzip form, which is added once.
type page struct {
	version uint64 // counts the pages of this process; a page with a higher one is newer
	state   dynmesh.SyncState
	since   time.Time // when state began; for Stale, when etcd was last heard
	*listing
	view *view // of the mesh; nil in a registry without one
}

// discoveryHeader is the value of X-Dynmesh-Discovery.
func (p *page) discoveryHeader(now time.Time) string {
	if p.state != dynmesh.Stale {
		return p.state.String()
	}
	age := max(0, now.Sub(p.since).Seconds())
	return "stale; age=" + strconv.FormatFloat(age, 'f', 1, 64) + "s"
}
