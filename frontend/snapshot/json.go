package snapshot

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Status is what of an instance counts for more than its own part of the answer. It is small,
// because there may be very many.
type Status struct {
	verdict              uint8 // index in verdict.States
	Verified, Registered bool
	auxiliary            bool  // see fleet.Instance.Auxiliary
	remarks              uint8 // a bit for each measure in which it differs from its peers

	cards *[]*dynmesh.ModelCard // of the models that it serves; nil: none
}

// Cards returns the model cards of what the instance serves.
func (s Status) Cards() []*dynmesh.ModelCard {
	if s.cards == nil {
		return nil
	}
	return *s.cards
}

// Differs says whether the instance differs from its peers in a measure.
func (s Status) Differs(in dynmesh.Measure) bool { return s.remarks&(1<<in) != 0 }

// Verdict is the verdict on the instance.
func (s Status) Verdict() dynmesh.VerdictState { return verdict.States()[s.verdict] }

func statusOf(i *fleet.Instance, remarks []fleet.Remark) Status {
	states := verdict.States()
	s := Status{verdict: uint8(max(0, slices.Index(states[:], i.State()))), Verified: i.Verified(), Registered: i.Registered()}
	for _, r := range remarks {
		s.remarks |= 1 << r.Measure
	}
	cards, _ := i.Cards()
	s.auxiliary = i.Auxiliary()
	if len(cards) > 0 {
		s.cards = &cards
	}
	return s
}

// instanceJSON renders an instance that has just been concluded on.
func instanceJSON(f *fleet.Fleet, i fleet.Changed, outputs Outputs, causes *cause.Table, now time.Time) []byte {
	j := mesh.Instance{
		ID: i.ID(), Verdict: i.State(), Verified: i.Verified(), Registered: i.Registered(), Since: mesh.Time{Time: i.Since()},
		Reasons: i.Reasons, Observations: []mesh.Observation{}, Worker: workerJSON(i.Process()),
		Flaps: i.Flaps(now), Changes: []mesh.Change{},
	}
	if of, ok := causes.Of(i.ID()); ok && (i.State() == dynmesh.Unreachable || i.State() == dynmesh.NotReady) {
		j.Cause = of.Key()
	}
	for _, r := range f.Remarks(i.Instance) {
		j.Remarks = append(j.Remarks, mesh.Remark{Kind: fleet.RemarkKind(r.Measure), Text: r.Text, Since: mesh.Time{Time: r.Since}})
	}
	cards, _ := i.Cards()
	j.Auxiliary = i.Auxiliary()
	for _, card := range cards {
		j.Models = append(j.Models, mesh.Model{Name: card.Model, WorkerType: card.WorkerType})
	}
	if transport := i.Transport(); transport != "" {
		j.Transport = json.RawMessage(transport)
	}
	if pod := f.Pod(i.Instance); pod != nil {
		j.Pod = &mesh.Pod{Name: pod.Name, UID: pod.UID, Node: pod.Node, Zone: pod.Zone, Rollout: pod.Rollout, Ready: pod.Ready, Terminating: pod.Terminating}
	}
	if w := f.Withdrawn(i.Instance); w != nil {
		j.Withdrawn = &mesh.Withdrawal{By: w.By, Since: mesh.Time{Time: w.Since}, Reason: w.Reason}
	}
	if outputs.Records != nil {
		for _, r := range outputs.Records(i.Key()) {
			j.Outputs = append(j.Outputs, mesh.Output{
				Name: r.Output, Target: r.Target, State: r.State.String(), Held: r.Held, Since: mesh.Time{Time: r.Since},
				Reason: r.Reason, Next: outputs.Outlook(i.Key(), r.State, r.Held), Error: r.Error, DryRun: r.DryRun,
			})
		}
	}
	for o, counts := range f.Observations(i.Instance) {
		j.Observations = append(j.Observations, observationJSON(o, counts))
	}
	for c := range i.Changes() {
		j.Changes = append(j.Changes, mesh.Change{At: mesh.Time{Time: c.At}, From: c.From, To: c.To, Reason: c.Reason})
	}
	return text.JSON(j)
}

func observationJSON(o dynmesh.Observation, counts bool) mesh.Observation {
	j := mesh.Observation{
		Observer: o.Observer.ID.String(), Kind: o.Kind.String(), Finding: o.Finding, Reason: o.Reason, Detail: o.Detail,
		Draining: o.Draining, LatencySeconds: o.Latency.Seconds(), At: mesh.Time{Time: o.At}, Counts: counts,
	}
	if o.Kind.Own() {
		ready := o.Ready
		j.Ready = &ready
	}
	return j
}

// workerJSON returns what is known of the process; nil if that is nothing.
func workerJSON(p *fleet.Process) *mesh.Worker {
	member, info := p.Member(), p.Told()
	if info == nil && member == nil {
		return nil
	}
	j := &mesh.Worker{Labels: map[string]string{}}
	if member != nil {
		j.GossipAddr, j.Version, j.Gossip = member.Addr, member.Version, member.State
	}
	if info != nil {
		j.Host, j.Version, j.PID, j.SystemURL = info.Host, info.Version, info.PID, info.SystemURL
		j.StartedAt = mesh.Time{Time: info.StartedAt}
		if info.Labels != nil {
			j.Labels = info.Labels
		}
		if j.GossipAddr == "" {
			j.GossipAddr = info.GossipAddr
		}
	}
	return j
}

func memberJSON(m *dynmesh.Member, unregistered bool) []byte {
	return text.JSON(mesh.Member{
		ID: m.ID, Role: m.Role, Addr: m.Addr, State: m.State, Since: mesh.Time{Time: m.Since}, Unregistered: unregistered,
	})
}

func headJSON(f *fleet.Fleet, outputs []mesh.OutputHead, causes []cause.Cause, version uint64, now time.Time) []byte {
	j := mesh.Head{Version: version, RenderedAt: mesh.Time{Time: now}, Discovery: discoveryJSON(f), Gossip: gossipJSON(f), Outputs: outputs}
	for _, c := range causes {
		j.Causes = append(j.Causes, causeJSON(c))
	}
	return text.JSON(j)
}

func causeJSON(c cause.Cause) mesh.Cause {
	j := mesh.Cause{
		Name: c.Key(), Label: c.Name, Value: c.Value, Line: c.String(), Since: mesh.Time{Time: c.Since}, Workers: c.Workers, Failing: c.Failing(),
		Down: c.Unreachable, Unready: c.NotReady, Ended: c.Vanished, IDs: c.VanishedIDs,
	}
	for _, l := range c.Also {
		j.Also = append(j.Also, l.Key())
	}
	return j
}

func discoveryJSON(f *fleet.Fleet) mesh.Discovery {
	registry := f.Registry()
	j := mesh.Discovery{State: registry.State, Since: mesh.Time{Time: registry.Since}, Revision: registry.Revision}
	if all := f.Registries(); len(all) > 1 {
		for _, r := range all {
			j.Sources = append(j.Sources, mesh.Source{Name: r.Name, State: r.State, Since: mesh.Time{Time: r.Since}, Revision: r.Revision})
		}
	}
	return j
}

func gossipJSON(f *fleet.Fleet) mesh.Gossip {
	h := f.Health()
	j := mesh.Gossip{
		Members: h.Alive + h.Suspect + h.Dead, Alive: h.Alive, Suspect: h.Suspect, Dead: h.Dead,
		HealthScore: h.Score, UDPDegraded: h.UDPDegraded,
	}
	switch self, takesPart := f.Gossips(); {
	case !takesPart:
		j.State = mesh.GossipOff
	case h.Alive+h.Suspect > 1:
		j.State, j.Self = mesh.GossipJoined, self.ID
	default:
		j.State, j.Self = mesh.GossipAlone, self.ID
	}
	return j
}

func endpointJSON(e *Endpoint) []byte {
	c := e.Counts
	return text.JSON(mesh.EndpointHead{
		Name: e.Name, Registered: c.Registered, Ready: c.Ready, Verified: c.Verified, NotReady: c.NotReady,
		Unreachable: c.Unreachable, Draining: c.Draining, Unregistered: c.Unregistered, Expected: e.Expected,
	})
}
