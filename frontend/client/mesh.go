package client

import (
	"time"

	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// Mesh is what a frontend knows: its answer at /mesh, or the part of that which was asked for.
// Fields that a frontend does not send are zero; those that it sends and that are not here stand in
// JSON. Texts in it may hold anything: show them through package plain.
type Mesh struct {
	mesh.Mesh
	Now  time.Time `json:"-"` // when it answered, by its own clock to about a second: ages are right where clocks differ
	JSON []byte    `json:"-"` // the answer as it came
}

// View returns what expectations are held against.
func (m Mesh) View() expect.View {
	v := expect.View{Discovery: m.Discovery.State, Since: m.Discovery.Since.Time}
	for _, e := range m.Endpoints {
		endpoint := expect.Endpoint{Name: e.Name}
		for _, i := range e.Instances {
			x := expect.Instance{ID: i.ID, Verdict: i.Verdict, Verified: i.Verified, Registered: i.Registered}
			for _, m := range i.Models {
				x.Models = append(x.Models, expect.Model{Name: m.Name, WorkerType: m.WorkerType})
			}
			endpoint.Instances = append(endpoint.Instances, x)
		}
		v.Endpoints = append(v.Endpoints, endpoint)
	}
	return v
}
