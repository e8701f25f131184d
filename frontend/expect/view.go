package expect

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// View is what a fleet has, as a frontend sees it. The order of what is in it does not matter.
type View struct {
	Discovery dynmesh.SyncState
	Since     time.Time // when Discovery began
	Endpoints []Endpoint
}

// Endpoint is one endpoint with its instances.
type Endpoint struct {
	Name      string // dyn://namespace.component.endpoint, as it came: others may have registered anything
	Instances []Instance
}

// Instance is one worker that serves an endpoint.
type Instance struct {
	ID         dynmesh.InstanceID
	Verdict    dynmesh.VerdictState // another word than its constants does not count as ready
	Verified   bool                 // a fresh canary or real traffic vouches for it
	Registered bool                 // etcd lists it; what it does not list, nobody finds who looks there, so it is not counted
}
