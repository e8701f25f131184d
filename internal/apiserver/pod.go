package apiserver

// ReadinessGate is the condition of pods that dynmesh writes: a pod that names it in its
// readinessGates is Ready only while it is True.
const ReadinessGate = "dynmesh.dev/ready"

// Pod is what is read of a pod.
type Pod struct {
	Meta
	UID   string
	Gated bool   // it has the gate
	Gate  string // True or False, as it was written last; empty: it never was
	Over  bool   // it is being deleted, or has ended

	// ReadyOtherwise says that it is Ready with the gate, once the kubelet has looked, if it is True:
	// its containers are, and its other gates.
	ReadyOtherwise bool
}

// DecodePod reads a pod.
func DecodePod(decode func(any) error) (*Pod, error) {
	var o struct {
		Metadata struct {
			Meta
			UID               string `json:"uid"`
			DeletionTimestamp string `json:"deletionTimestamp"`
		} `json:"metadata"`
		Spec struct {
			ReadinessGates []struct {
				ConditionType string `json:"conditionType"`
			} `json:"readinessGates"`
		} `json:"spec"`
		Status struct {
			Phase      string `json:"phase"`
			Conditions []struct {
				Type   string `json:"type"`
				Status string `json:"status"`
			} `json:"conditions"`
		} `json:"status"`
	}
	if err := decode(&o); err != nil {
		return nil, err
	}
	conditions := map[string]string{}
	for _, c := range o.Status.Conditions {
		conditions[c.Type] = c.Status
	}
	p := &Pod{
		Meta: o.Metadata.Meta, UID: o.Metadata.UID, Gate: conditions[ReadinessGate],
		Over: o.Metadata.DeletionTimestamp != "" || o.Status.Phase == "Succeeded" || o.Status.Phase == "Failed",
	}
	others := conditions["ContainersReady"] == "True"
	for _, g := range o.Spec.ReadinessGates {
		if g.ConditionType == ReadinessGate {
			p.Gated = true
		} else {
			others = others && conditions[g.ConditionType] == "True"
		}
	}
	p.ReadyOtherwise = others && !p.Over
	return p, nil
}
