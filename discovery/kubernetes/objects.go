package kubernetes

import (
	"encoding/json"
	"errors"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/text"
)

// object is what is read of one object. Other fields are not looked at.
type object struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
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

	// Of a Pod.
	gated bool // it is ready, or would be if dynmesh's own gate were True

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
	Zone      string     `json:"zone"`
	TargetRef *reference `json:"targetRef"`
}

type slicePort struct {
	Name        string `json:"name"`
	Port        int    `json:"port"`
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol"`
}

// decodeObject reads one object.
func decodeObject(decode func(any) error) (*object, error) {
	o := new(object)
	return o.checked(decode(o))
}

// decodeWorker reads a DynamoWorkerMetadata, all of it: here, and not where all of them wait for
// the first to count.
func decodeWorker(decode func(any) error) (*object, error) {
	o, err := decodeObject(decode)
	if err == nil && o.fault == "" {
		o.said()
	}
	return o, err
}

// decodePod reads a pod.
func decodePod(decode func(any) error) (*object, error) {
	p, err := apiserver.DecodePod(decode)
	if err != nil {
		return nil, err
	}
	o := &object{gated: p.Gated && p.ReadyOtherwise}
	o.Metadata.Name, o.Metadata.ResourceVersion, o.Metadata.UID = p.Name, p.ResourceVersion, p.UID
	return o, nil
}

func (o *object) meta() apiserver.Meta {
	return apiserver.Meta{Name: o.Metadata.Name, ResourceVersion: o.Metadata.ResourceVersion}
}

// checked returns an object that was decoded with an error, or none. One that is not what it should
// be is kept as one that is faulty, if its name was read: it must not take others with it.
func (o *object) checked(err error) (*object, error) {
	_, isOdd := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err != nil && !isOdd:
		return nil, err
	case o.Metadata.Name == "":
		return nil, errors.Join(errors.New("object without a name"), err)
	case isOdd:
		return &object{Metadata: o.Metadata, fault: text.Error(err, 150)}, nil
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
