package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/text"
)

// object is what is read of one object. Other fields are not looked at.
type object struct {
	Metadata struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
		OwnerReferences []reference       `json:"ownerReferences"`
	} `json:"metadata"`

	// Of a DynamoWorkerMetadata.
	Spec struct {
		Data struct {
			Endpoints  map[string]json.RawMessage `json:"endpoints"` // null for a revision after a start
			ModelCards map[string]json.RawMessage `json:"model_cards"`
		} `json:"data"`
	} `json:"spec"`

	// Of an EndpointSlice.
	Endpoints []sliceEndpoint `json:"endpoints"`
	Ports     []slicePort     `json:"ports"`

	fault   string             // why the rest could not be read; empty: it could
	decoded *discovery.Entries // of a DynamoWorkerMetadata: what it says, in place of Spec
}

type reference struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
}

type sliceEndpoint struct {
	Addresses  []string `json:"addresses"`
	Conditions struct {
		Ready       *bool `json:"ready"`
		Terminating *bool `json:"terminating"`
	} `json:"conditions"`
	NodeName  string     `json:"nodeName"`
	TargetRef *reference `json:"targetRef"`
}

type slicePort struct {
	Name        string `json:"name"`
	Port        int    `json:"port"`
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol"`
}

// decodeObject reads one object. One of which nothing but the name can be read is kept as one that
// is faulty: it must not take others with it.
func decodeObject(raw []byte) (*object, error) {
	o := new(object)
	if err := json.Unmarshal(raw, o); err != nil {
		var named object
		head := struct {
			Metadata any `json:"metadata"`
		}{&named.Metadata}
		if json.Unmarshal(raw, &head) != nil || named.Metadata.Name == "" {
			return nil, fmt.Errorf("object without a name: %w", err)
		}
		named.fault = text.Error(err, 150)
		return &named, nil
	}
	if o.Metadata.Name == "" {
		return nil, errors.New("object without a name")
	}
	return o, nil
}

// podUID returns the uid of the pod that owns the object.
func (o *object) podUID() string {
	for _, r := range o.Metadata.OwnerReferences {
		if r.Kind == "Pod" {
			return r.UID
		}
	}
	return ""
}

// said returns what a worker says that it serves. It is decoded once, when it first counts, and
// what it was decoded from is let go: a card has kilobytes.
func (o *object) said() discovery.Entries {
	if o.decoded != nil {
		return *o.decoded
	}
	all := discovery.NewEntries()
	name := objectName(workers, o.Metadata.Name)
	for path, value := range o.Spec.Data.Endpoints {
		i, err := discovery.DecodeInstanceAt(path, value)
		if err != nil {
			all.Reject(name+" endpoints "+path, err)
			continue
		}
		all.Instances[i.InstanceKey] = i
	}
	for path, value := range o.Spec.Data.ModelCards {
		c, err := discovery.DecodeCardAt(path, value)
		if err != nil {
			all.Reject(name+" model_cards "+path, err)
			continue
		}
		all.Cards[c.CardKey] = c
	}
	o.Spec.Data.Endpoints, o.Spec.Data.ModelCards = nil, nil
	o.decoded = &all
	return all
}
