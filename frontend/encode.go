package frontend

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// The parts of /mesh. The order of fields is that of the answer.
type (
	jsonInstance struct {
		ID           string               `json:"id"`
		Verdict      dynmesh.VerdictState `json:"verdict"`
		Verified     bool                 `json:"verified"`
		Registered   bool                 `json:"registered"`
		Since        stamp                `json:"since"`
		Reasons      []string             `json:"reasons"`
		Observations []jsonObservation    `json:"observations"`
		Worker       *jsonWorker          `json:"worker"`
		Transport    json.RawMessage      `json:"transport"`
		Flaps        int                  `json:"flaps"`
		Changes      []jsonChange         `json:"changes"`
	}
	jsonObservation struct {
		Observer string          `json:"observer"`
		Kind     string          `json:"kind"`
		Finding  dynmesh.Finding `json:"finding"`
		Reason   dynmesh.Reason  `json:"reason,omitempty"`
		Detail   string          `json:"detail,omitempty"`
		Ready    *bool           `json:"ready,omitempty"`    // canary and traffic: the worker's own conclusion
		Draining bool            `json:"draining,omitempty"` // process
		Latency  float64         `json:"latency_seconds,omitempty"`
		At       stamp           `json:"at"`
		Counts   bool            `json:"counts"`
	}
	jsonWorker struct {
		Host       string              `json:"host"`
		Version    string              `json:"version"`
		Labels     map[string]string   `json:"labels"`
		PID        int                 `json:"pid,omitempty"`
		StartedAt  *stamp              `json:"started_at,omitempty"`
		SystemURL  string              `json:"system_url,omitempty"`
		GossipAddr string              `json:"gossip_addr,omitempty"`
		Gossip     dynmesh.MemberState `json:"gossip,omitempty"`
	}
	jsonChange struct {
		At     stamp                `json:"at"`
		From   dynmesh.VerdictState `json:"from"`
		To     dynmesh.VerdictState `json:"to"`
		Reason string               `json:"reason"`
	}
	jsonMember struct {
		ID    string              `json:"id"`
		Role  dynmesh.Role        `json:"role"`
		Addr  string              `json:"addr"`
		State dynmesh.MemberState `json:"state"`
		Since stamp               `json:"since"`
	}
)

// stamp is a time as all of /mesh writes it.
type stamp time.Time

// MarshalText implements encoding.TextMarshaler.
func (s stamp) MarshalText() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, verdict.Time), nil
}

// encode renders an instance, for the next view.
func (m *mesh) encode(i *instance, now time.Time) {
	if !i.shown {
		i.group.changes = append(i.group.changes, change{record: &record{endpoint: i.group.endpoint, id: i.worker.id}, gone: true})
		return
	}
	flaps, _ := i.history.flaps(now)
	j := jsonInstance{
		ID: i.worker.id.String(), Verdict: i.verdict.State, Verified: i.verdict.Verified, Registered: i.registered,
		Since: stamp(i.since), Reasons: i.verdict.Reasons, Observations: []jsonObservation{}, Worker: i.worker.json(),
		Transport: json.RawMessage(i.transport), Flaps: flaps, Changes: []jsonChange{},
	}
	if i.group.cutOff && i.verdict.State == dynmesh.Unreachable {
		j.Reasons = append(j.Reasons[:len(j.Reasons):len(j.Reasons)], verdict.PartitionReason)
	}
	if i.own != nil {
		ready := i.own.Ready
		o := observed(*i.own, i.worker.there() && i.worker.present(i.own) != nil)
		o.Ready = &ready
		j.Observations = append(j.Observations, o)
	}
	if p := i.worker.process; p != nil && p.Draining {
		j.Observations = append(j.Observations, observed(*p, i.worker.present(p) != nil))
	}
	for _, f := range i.watchers() {
		j.Observations = append(j.Observations, observed(f.Observation, m.path(f).Counts()))
	}
	for _, t := range i.history {
		j.Changes = append(j.Changes, jsonChange{stamp(t.At), t.From, t.To, t.Reason})
	}
	r := newRecord(i.group.endpoint, i.worker.id, encoded(j))
	r.standing = i.standing()
	i.group.changes = append(i.group.changes, change{record: r})
}

func observed(o dynmesh.Observation, counts bool) jsonObservation {
	return jsonObservation{
		Observer: o.Observer.ID.String(), Kind: o.Kind.String(), Finding: o.Report.Finding, Reason: o.Reason, Detail: o.Detail,
		Draining: o.Draining, Latency: o.Latency.Seconds(), At: stamp(o.At), Counts: counts,
	}
}

// json returns what is known of the process; nil if that is nothing.
func (w *worker) json() *jsonWorker {
	if w.info == nil && w.member == nil {
		return nil
	}
	j := &jsonWorker{Labels: map[string]string{}, Gossip: w.state()}
	if w.member != nil {
		j.GossipAddr, j.Version = w.member.Addr, w.member.Version
	}
	if info := w.info; info != nil {
		started := stamp(info.StartedAt)
		j.Host, j.Version, j.PID, j.StartedAt, j.SystemURL = info.Host, info.Version, info.PID, &started, info.SystemURL
		if info.Labels != nil {
			j.Labels = info.Labels
		}
		if j.GossipAddr == "" {
			j.GossipAddr = info.GossipAddr
		}
	}
	return j
}

func memberJSON(m dynmesh.Member) []byte {
	return encoded(jsonMember{m.ID.String(), m.Role, m.Addr, m.State, stamp(m.Since)})
}

// encoded returns v as JSON, without escapes for HTML: that is not what is being written.
func encoded(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // unreachable: these types always encode, and a transport was parsed before
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
