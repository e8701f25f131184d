package kubernetes

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What ten thousand workers may take.
const (
	workers  = 10_000
	perSlice = 100 // as Kubernetes makes them
	changes  = 200
	readAll  = 5 * time.Second
	seen     = 100 * time.Millisecond
	big      = "big" // their namespace
	settled  = 150 * time.Millisecond
)

// thousands has a frontend read ten thousand workers, each of what a real one wrote but for its
// transport, which is one that nobody connects to.
func (f *fleet) thousands(t *testing.T) {
	f.manager.Kill() // it would collect what belongs to pods that are not there
	f.admin.create(t, "/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": big}})
	const rights = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	role := f.admin.must(t, http.MethodGet, rights+namespace+"/roles/dynmesh-frontend", "", nil)
	f.admin.create(t, rights+big+"/roles", object{"kind": "Role", "metadata": object{"name": "dynmesh-frontend"}, "rules": role["rules"]})
	const account = "thousands"
	f.admin.create(t, "/api/v1/namespaces/"+big+"/serviceaccounts", object{"kind": "ServiceAccount", "metadata": object{"name": account}})
	f.admin.create(t, rights+big+"/rolebindings", object{
		"kind": "RoleBinding", "metadata": object{"name": "dynmesh-frontend"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "dynmesh-frontend"},
		"subjects": []object{{"kind": "ServiceAccount", "name": account, "namespace": big}},
	})
	size := f.populate(t)

	follows := &fleet{plane: f.plane, dynmesh: f.dynmesh, network: f.network}
	ranBefore, waitedBefore := f.server.Scheduled(t)
	began := time.Now()
	one := follows.startFrontend(t, big, account, "--kubernetes-namespace", big)
	took := time.Since(began)
	testkit.Eventually(t, patience, "all are listed", func() bool { return len(list(one.root)) == 2*workers })
	ran, waited := f.server.Scheduled(t)
	oneRan, oneWaited := one.Scheduled(t)
	t.Logf("the API server has run for %v, and the frontend for %v", ran-ranBefore, oneRan)
	waited += oneWaited - waitedBefore
	row(t, fmt.Sprintf("%d workers of %d bytes: synced after the start", workers, size), seconds(took), "–")
	// What they waited for a processor that others had is not held against them.
	if took > readAll+waited {
		t.Errorf("synced after %v, of which they waited %v for a processor, want %v", took, waited, readAll)
	}

	events := f.watch(t)
	pace := testkit.Paced(t)
	var after []time.Duration
	for n := range changes {
		slice, place := n%(workers/perSlice), n/(workers/perSlice)
		name := worker(slice*perSlice + place)
		id := discovery.HashID(name).String()
		f.admin.must(t, http.MethodPatch, fmt.Sprintf("/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices/slice-%d", big, slice), "application/json-patch+json",
			[]object{{"op": "replace", "path": fmt.Sprintf("/endpoints/%d/conditions/ready", place), "value": false}})
		var event time.Time
		select {
		case event = <-events:
		case <-time.After(patience):
			t.Fatal("the watch says nothing")
		}
		until(t, event, patience, name+" is gone", func() bool {
			status, _ := get(one.root + "/mesh/" + generate + "/" + id)
			return status == http.StatusNotFound
		})
		after = append(after, pace.Since(event))
		<-time.After(settled) // changes that follow at once are told together, after a while
	}
	slices.Sort(after)
	row(t, fmt.Sprintf("one of %d is no longer ready: after the watch's event, p50, p99", workers), seconds(after[len(after)/2])+", "+seconds(after[len(after)*99/100]), "–")
	if after[len(after)*99/100] > seen {
		t.Errorf("p99 is %v, want %v", after[len(after)*99/100], seen)
	}
	asked := map[string]int{}
	for _, a := range f.askedBy(t, one.user) {
		asked[a.Verb+" "+a.Object.Resource]++
	}
	t.Logf("it has asked %v", asked)
	if asked["watch endpointslices"] > 2 || asked["watch dynamoworkermetadatas"] > 2 || asked["list dynamoworkermetadatas"] > workers/500+1 {
		t.Errorf("it has asked %v: want a list in pages of 500, and a watch of each", asked)
	}
}

func worker(n int) string { return fmt.Sprintf("w-%d", n) }

// populate makes them, and returns the size of each.
func (f *fleet) populate(t *testing.T) (size int) {
	t.Helper()
	text, err := os.ReadFile("../../discovery/kubernetes/testdata/dynamoworkermetadata.json")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	numbers := make(chan int)
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed []string
	for range 16 {
		all.Go(func() {
			for n := range numbers {
				id := discovery.HashID(worker(n))
				own := strings.NewReplacer("1d241219831293", id.String(), "8202434480640659", fmt.Sprint(uint64(id)), `"w-0"`, `"`+worker(n)+`"`,
					`"tcp": "192.0.2.2:23910/`, `"nats_tcp": "`, "http://192.0.2.2:23900", "").Replace(string(text))
				var objects []object
				if err := json.Unmarshal([]byte(own), &objects); err != nil {
					panic(err)
				}
				meta := objects[0]["metadata"].(object)
				for _, server := range []string{"resourceVersion", "uid", "creationTimestamp", "generation", "namespace", "managedFields"} {
					delete(meta, server)
				}
				status, body := f.admin.ask(t.Context(), http.MethodPost, "/apis/nvidia.com/v1alpha1/namespaces/"+big+"/dynamoworkermetadatas", "application/json", objects[0])
				mu.Lock()
				size = len(own)
				if status != http.StatusCreated {
					failed = append(failed, fmt.Sprintf("%d %.300s", status, body))
				}
				mu.Unlock()
			}
		})
	}
	for n := range workers {
		numbers <- n
	}
	close(numbers)
	all.Wait()
	if len(failed) > 0 {
		t.Fatalf("%d could not be made, such as %s", len(failed), failed[0])
	}
	for s := range workers / perSlice {
		var endpoints []object
		for n := range perSlice {
			endpoints = append(endpoints, object{
				"addresses": []string{"192.0.2.77"}, "conditions": object{"ready": true},
				"targetRef": object{"kind": "Pod", "name": worker(s*perSlice + n), "namespace": big, "uid": "b8e684fa-98da-40c6-8e4c-2010e52d8726"},
			})
		}
		f.admin.create(t, "/apis/discovery.k8s.io/v1/namespaces/"+big+"/endpointslices", object{
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
			"metadata": object{"name": fmt.Sprintf("slice-%d", s), "labels": object{
				"nvidia.com/dynamo-discovery-backend": "kubernetes", "nvidia.com/dynamo-discovery-enabled": "true",
			}},
			"ports": []object{{"name": "system", "port": 9090, "protocol": "TCP"}},
		})
	}
	t.Logf("%d workers were made in %v", workers, time.Since(began))
	return size
}

// watch returns when events of slices arrive.
func (f *fleet) watch(t *testing.T) <-chan time.Time {
	t.Helper()
	listed := f.admin.must(t, http.MethodGet, "/apis/discovery.k8s.io/v1/namespaces/"+big+"/endpointslices?limit=1", "", nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		f.admin.root+"/apis/discovery.k8s.io/v1/namespaces/"+big+"/endpointslices?watch=1&resourceVersion="+at(listed, "metadata", "resourceVersion"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.admin.token)
	res, err := f.admin.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan time.Time, changes)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			events <- time.Now()
		}
	})
	t.Cleanup(func() { res.Body.Close(); reading.Wait() })
	return events
}
