package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

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

// decodeObject reads one object.
func decodeObject(raw []byte) (*object, error) {
	o := new(object)
	return o.checked(json.Unmarshal(raw, o))
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

// listPage is a part of a list.
type listPage struct {
	metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	}
	items []*object
}

// readPage reads a page object by object, as the API server writes it.
func readPage(from io.Reader) (p listPage, err error) {
	body := json.NewDecoder(from)
	if err := expect(body, '{'); err != nil {
		return p, err
	}
	for body.More() {
		name, err := body.Token()
		if err != nil {
			return p, err
		}
		switch name {
		case "metadata":
			err = body.Decode(&p.metadata)
		case "items":
			p.items, err = readItems(body)
		default:
			err = body.Decode(new(json.RawMessage))
		}
		if err != nil {
			return p, err
		}
	}
	return p, expect(body, '}') // else it was cut off
}

func readItems(body *json.Decoder) (all []*object, err error) {
	begin, err := body.Token()
	if err != nil || begin == nil { // null: there are none
		return nil, err
	}
	if begin != json.Delim('[') {
		return nil, fmt.Errorf("items are %v", begin)
	}
	for body.More() {
		o := new(object)
		if o, err = o.checked(body.Decode(o)); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, expect(body, ']')
}

func expect(body *json.Decoder, delim json.Delim) error {
	got, err := body.Token()
	if err == nil && got != delim {
		err = fmt.Errorf("got %v in a list, want %v", got, delim)
	}
	return err
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
