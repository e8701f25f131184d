package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// kind is a kind of objects that are followed.
type kind int

const (
	workers  kind = iota // DynamoWorkerMetadata
	ready                // EndpointSlices labelled for Dynamo
	pods                 // Pods, where dynmesh withdraws some by their readiness gate
	services             // EndpointSlices of the Services that the first selector finds; others follow
)

// join leads from objects to what is listed. It is pure. What it tells is by pod: a change of an
// object concerns its pods, and no others are looked at.
type join struct {
	ports   []string                     // of the Services of each selector
	objects []map[string]*object         // of each kind, by name
	slices  map[string]map[place]*object // the slices that name a pod
	dirty   map[string]struct{}          // pods that may be listed otherwise
	listed  map[string]discovery.Gone    // of each pod, what was told last
}

// place is a slice among those of all kinds.
type place struct {
	kind kind
	name string
}

func newJoin(ports []string) *join {
	j := &join{
		ports: ports, slices: map[string]map[place]*object{}, dirty: map[string]struct{}{}, listed: map[string]discovery.Gone{},
	}
	for range int(services) + len(ports) {
		j.objects = append(j.objects, map[string]*object{})
	}
	return j
}

// replace takes in all objects of a kind.
func (j *join) replace(k kind, all []*object) {
	read := make(map[string]bool, len(all))
	for _, o := range all {
		read[o.Metadata.Name] = true
		j.put(k, o)
	}
	for name := range j.objects[k] {
		if !read[name] {
			j.remove(k, name)
		}
	}
}

// put takes in one object.
func (j *join) put(k kind, o *object) {
	name := o.Metadata.Name
	if before := j.objects[k][name]; before != nil && before.Metadata.ResourceVersion == o.Metadata.ResourceVersion {
		return
	}
	if k == pods {
		j.putPod(o)
		return
	}
	j.remove(k, name)
	j.objects[k][name] = o
	j.dirty[name] = struct{}{} // of a slice: for what is wrong with it
	if k == workers {
		return
	}
	for _, e := range o.Endpoints {
		pod := e.subject()
		if j.slices[pod] == nil {
			j.slices[pod] = map[place]*object{}
		}
		j.slices[pod][place{k, name}] = o
		j.dirty[pod] = struct{}{}
	}
}

// putPod takes in a pod. Only one that nothing but dynmesh's own gate can keep from being ready
// makes a difference, and is kept.
func (j *join) putPod(o *object) {
	name := o.Metadata.Name
	before := j.objects[pods][name]
	if !o.gated {
		j.remove(pods, name)
		return
	}
	j.objects[pods][name] = o
	if before == nil || before.Metadata.UID != o.Metadata.UID {
		j.dirty[name] = struct{}{}
	}
}

// remove takes in that an object is gone.
func (j *join) remove(k kind, name string) {
	o := j.objects[k][name]
	if o == nil {
		return
	}
	delete(j.objects[k], name)
	j.dirty[name] = struct{}{}
	for _, e := range o.Endpoints {
		pod := e.subject()
		delete(j.slices[pod], place{k, name})
		if len(j.slices[pod]) == 0 {
			delete(j.slices, pod)
		}
		j.dirty[pod] = struct{}{}
	}
}

// changes returns what is listed otherwise since the last call: what is listed of the pods that it
// concerns, and what is no longer.
func (j *join) changes() (now discovery.Entries, gone discovery.Gone) {
	now = discovery.NewEntries()
	for pod := range j.dirty {
		before := j.listed[pod]
		gone.Instances = append(gone.Instances, before.Instances...)
		gone.Cards = append(gone.Cards, before.Cards...)
		gone.Mended = append(gone.Mended, before.Mended...)
		j.list(pod, now)
	}
	clear(j.dirty)
	return now, gone
}

// all returns all that is listed, and all that is wrong.
func (j *join) all() discovery.Entries {
	for _, objects := range j.objects {
		for name := range objects {
			j.dirty[name] = struct{}{}
		}
	}
	for pod := range j.slices {
		j.dirty[pod] = struct{}{}
	}
	now, _ := j.changes()
	return now
}

// list adds what is listed of a pod.
func (j *join) list(pod string, to discovery.Entries) {
	one := discovery.NewEntries()
	j.listWorker(pod, one)
	j.listServed(pod, one)
	for k := range j.objects { // an object of that name
		o := j.objects[k][pod]
		switch {
		case o == nil:
		case o.fault != "":
			one.Reject(objectName(kind(k), pod), discovery.Rejectf(dynmesh.RejectJSON, "%s", o.fault))
		case kind(k) >= services && len(o.Endpoints) > 0: // else it may have no ports either
			if _, err := findPort(o, j.ports[kind(k)-services]); err != nil {
				one.Reject(objectName(kind(k), pod), err)
			}
		}
	}
	told := discovery.Gone{
		Instances: slices.Collect(maps.Keys(one.Instances)),
		Cards:     slices.Collect(maps.Keys(one.Cards)),
		Mended:    slices.Collect(maps.Keys(one.Rejects)),
	}
	if len(told.Instances)+len(told.Cards)+len(told.Mended) == 0 {
		delete(j.listed, pod)
		return
	}
	j.listed[pod] = told
	maps.Copy(to.Instances, one.Instances)
	maps.Copy(to.Cards, one.Cards)
	maps.Copy(to.Rejects, one.Rejects)
}

// listWorker adds what a pod serves by Dynamo's word, if a slice says that it is ready.
func (j *join) listWorker(name string, to discovery.Entries) {
	worker := j.objects[workers][name]
	if worker == nil || worker.fault != "" {
		return
	}
	var pod *dynmesh.Pod
	for _, e := range j.ready(name) {
		switch {
		case pod == nil:
			pod = e.pod(false)
		case pod.UID != e.TargetRef.UID:
			to.Reject(objectName(ready, name), discovery.Rejectf(dynmesh.RejectMismatch,
				"slices name the pod with uids %s and %s: it is not listed until they agree", pod.UID, e.TargetRef.UID))
			return
		}
	}
	if pod == nil || pod.UID != worker.podUID() {
		return
	}
	said := worker.said()
	for key, i := range said.Instances {
		i.Pod = pod
		to.Instances[key] = i
	}
	maps.Copy(to.Cards, said.Cards)
	maps.Copy(to.Rejects, said.Rejects)
}

// listServed adds what a pod serves by a Service's word.
func (j *join) listServed(name string, to discovery.Entries) {
	for k := services; int(k) < len(j.objects); k++ {
		for p, slice := range j.slices[name] {
			if p.kind != k {
				continue
			}
			port, err := findPort(slice, j.ports[k-services])
			if err != nil {
				continue // it is told once, of the slice
			}
			for _, e := range slice.Endpoints {
				if e.subject() != name || len(e.Addresses) == 0 {
					continue
				}
				i := port.instance(slice, e)
				before, ok := to.Instances[i.InstanceKey]
				// Of a pod with several addresses, the first in order: the same each time.
				if !ok || string(i.Transport) < string(before.Transport) {
					to.Instances[i.InstanceKey] = i
				}
			}
		}
	}
}

// ready returns what slices for Dynamo say of a pod that they call ready, or would if dynmesh had
// not withdrawn it, in an order that stays.
func (j *join) ready(pod string) (all []sliceEndpoint) {
	for _, p := range slices.SortedFunc(maps.Keys(j.slices[pod]), func(a, b place) int { return cmp.Compare(a.name, b.name) }) {
		if p.kind != ready {
			continue
		}
		for _, e := range j.slices[pod][p].Endpoints {
			if e.subject() == pod && e.TargetRef != nil && (isTrue(e.Conditions.Ready, false) || j.gated(pod, e)) {
				all = append(all, e)
			}
		}
	}
	return all
}

// gated says whether a pod is ready but for dynmesh's own gate. It stays listed while that is
// False, so that what has withdrawn it sees when it works again, and until the kubelet and its
// slice have followed.
func (j *join) gated(pod string, e sliceEndpoint) bool {
	o := j.objects[pods][pod]
	return o != nil && o.Metadata.UID == e.TargetRef.UID && !isTrue(e.Conditions.Terminating, false)
}

// findPort returns the port of a slice by name or number; the only one where there is no name.
func findPort(slice *object, name string) (slicePort, error) {
	var tcp []slicePort
	for _, p := range slice.Ports {
		if p.Protocol == "" || p.Protocol == "TCP" {
			tcp = append(tcp, p)
		}
	}
	if name == "" && len(tcp) == 1 {
		return tcp[0], nil
	}
	for _, p := range tcp {
		if name != "" && (p.Name == name || strconv.Itoa(p.Port) == name) {
			return p, nil
		}
	}
	var have []string
	for _, p := range tcp {
		have = append(have, fmt.Sprintf("%s %d", cmp.Or(p.Name, "unnamed"), p.Port))
	}
	return slicePort{}, discovery.Rejectf(dynmesh.RejectField, "want the port %q, the Service has %q", name, have)
}

// instance returns what an address of a Service serves at the port.
func (p slicePort) instance(slice *object, e sliceEndpoint) dynmesh.Instance {
	scheme := "http"
	if p.AppProtocol == "https" {
		scheme = "https"
	}
	number := strconv.Itoa(p.Port)
	return dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{
			Endpoint: dynmesh.Endpoint{
				Namespace: slice.Metadata.Namespace,
				Component: cmp.Or(slice.Metadata.Labels["kubernetes.io/service-name"], slice.Metadata.Name),
				Name:      cmp.Or(p.Name, number),
			},
			ID: discovery.HashID(e.subject()),
		},
		Transport: dynmesh.HTTPTransport(scheme + "://" + net.JoinHostPort(e.Addresses[0], number)),
		Pod:       e.pod(true),
	}
}

// subject returns the name of the pod, or the address of what is none.
func (e sliceEndpoint) subject() string {
	switch {
	case e.TargetRef != nil && e.TargetRef.Kind == "Pod" && e.TargetRef.Name != "":
		return e.TargetRef.Name
	case len(e.Addresses) > 0:
		return e.Addresses[0]
	}
	return ""
}

// pod returns what Kubernetes says of the pod; unsaid is what it means where it says nothing of
// readiness.
func (e sliceEndpoint) pod(unsaid bool) *dynmesh.Pod {
	p := &dynmesh.Pod{
		Name: e.subject(), Node: e.NodeName, Zone: e.Zone, Ready: isTrue(e.Conditions.Ready, unsaid), Terminating: isTrue(e.Conditions.Terminating, false),
	}
	if e.TargetRef != nil {
		p.UID, p.Rollout = e.TargetRef.UID, rolloutOf(p.Name)
	}
	return p
}

// rolloutOf returns the name of the ReplicaSet that has made a pod, by the pod's: a Deployment's
// name, the hash of its template, and five characters of the pod's own. Empty where it does not
// look like that: pods of others do not say their revision in their names.
func rolloutOf(pod string) string {
	const (
		letters = "bcdfghjklmnpqrstvwxz2456789" // of which Kubernetes makes both: no vowels, and nothing that is taken for another
		own     = 5
		minHash = 6
		maxHash = 10
	)
	end := strings.LastIndexByte(pod, '-')
	begin := strings.LastIndexByte(pod[:max(end, 0)], '-')
	if begin <= 0 || len(pod)-end-1 != own || end-begin-1 < minHash || end-begin-1 > maxHash || strings.Trim(pod[begin+1:end]+pod[end+1:], letters) != "" {
		return ""
	}
	return pod[:end]
}

func isTrue(b *bool, unsaid bool) bool {
	if b == nil {
		return unsaid
	}
	return *b
}

// objectName returns what people know an object by.
func objectName(k kind, name string) string {
	switch k {
	case workers:
		return "dynamoworkermetadata/" + name
	case pods:
		return "pod/" + name
	}
	return "endpointslice/" + name
}
