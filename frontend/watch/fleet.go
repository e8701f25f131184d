package watch

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/text"
)

// maxReason is how much of a reason is handed on, in bytes: one line, whatever a frontend sends.
const maxReason = 300

// statusOf says how much what a frontend tells is worth: what the frontend itself goes by.
func statusOf(m *client.Mesh) output.Status {
	s := output.Status{Registry: m.Discovery.State}
	switch g := m.Gossip; {
	case g.HealthScore >= verdict.Unwell && g.State != mesh.GossipAlone:
		s.Suspicion = fmt.Sprintf("the frontend is slow or cut off (health score %d)", g.HealthScore)
	case g.State == mesh.GossipAlone && othersGossip(m):
		s.Suspicion = "the frontend reaches nobody of those who gossip"
	}
	return s
}

func othersGossip(m *client.Mesh) bool {
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			if i.Worker != nil && i.Worker.GossipAddr != "" {
				return true
			}
		}
	}
	return false
}

// instancesOf returns what the policy has to know. What is no endpoint's name is left out: nobody
// routes there.
func instancesOf(m *client.Mesh) map[dynmesh.InstanceKey]output.Instance {
	all := map[dynmesh.InstanceKey]output.Instance{}
	for _, e := range m.Endpoints {
		key, err := dynmesh.ParseEndpoint(e.Name)
		if err != nil {
			continue
		}
		for _, i := range e.Instances {
			if !i.Auxiliary {
				x := instanceOf(i, m.Gossip.State)
				x.Key, x.Endpoint = dynmesh.InstanceKey{Endpoint: key, ID: i.ID}, e.Name
				all[x.Key] = x
			}
		}
	}
	return all
}

func instanceOf(i mesh.Instance, gossip mesh.GossipState) output.Instance {
	x := output.Instance{Verdict: dynmesh.VerdictState(text.Line(string(i.Verdict), maxReason)), Verified: i.Verified, Registered: i.Registered}
	if len(i.Reasons) > 0 {
		x.Reason = text.Line(i.Reasons[0], maxReason)
	}
	x.Addr, x.Scheme = fleet.Address(string(i.Transport))
	for _, m := range i.Models {
		x.Models = append(x.Models, expect.Model{Name: m.Name, WorkerType: m.WorkerType})
	}
	for _, r := range i.Remarks {
		x.Remarks = append(x.Remarks, output.Remark{Kind: r.Kind, Text: text.Line(r.Text, maxReason)})
	}
	isMember := i.Worker != nil && i.Worker.GossipAddr != ""
	x.Observed = gossip == mesh.GossipOff || len(i.Observations) > 0 || x.Addr == "" && !isMember
	for _, o := range i.Observations {
		if o.Observer == i.ID.String() && o.Counts && o.Ready != nil {
			x.Unchecked = o.Finding == dynmesh.Unchecked
			x.Failing = o.Finding == dynmesh.Fail || o.Finding == dynmesh.Stalled
		}
	}
	return x
}
