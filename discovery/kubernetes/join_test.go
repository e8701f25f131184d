package kubernetes

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// recorded returns the objects of a file as a real API server gave them.
func recorded(t *testing.T, file string) (all []*object) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		t.Fatal(err)
	}
	var items []json.RawMessage
	if json.Unmarshal(text, &items) != nil {
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		items = list.Items
	}
	for _, raw := range items {
		o, err := decodeObject(reading(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// What Dynamo 1.6.1 and a real API server wrote is listed as Dynamo's frontend listed it: the one
// pod that has metadata, of the three that are ready.
func TestRecorded(t *testing.T) {
	j := newJoin(nil)
	j.replace(workers, recorded(t, "dynamoworkermetadata.json"))
	j.replace(ready, recorded(t, "endpointslice.yaml"))
	entries := j.all()
	var keys []string
	for key, i := range entries.Instances {
		keys = append(keys, key.String())
		want := dynmesh.Pod{Name: "w-0", UID: "b8e684fa-98da-40c6-8e4c-2010e52d8726", Node: "node-a", Ready: true}
		if i.Pod == nil || *i.Pod != want {
			t.Errorf("pod = %+v, want %+v", i.Pod, want)
		}
		if key.ID != discovery.HashID("w-0") {
			t.Errorf("ID %d is not that of the pod's name", key.ID)
		}
	}
	slices.Sort(keys)
	if want := []string{
		"v1/instances/dynamo/backend/generate/1d241219831293",
		"v1/instances/dynamo/backend/worker_kv_query_source_182443ebf3e0a5/1d241219831293",
	}; !slices.Equal(keys, want) {
		t.Errorf("instances = %q, want %q", keys, want)
	}
	if len(entries.Cards) != 1 || len(entries.Rejects) != 0 {
		t.Errorf("%d cards, %v left out", len(entries.Cards), entries.Rejects)
	}
	for _, c := range entries.Cards {
		if c.Model != "tiny" || c.SystemURL != "http://192.0.2.2:23900" {
			t.Errorf("card = %+v", c)
		}
	}
}

// Objects in short. A worker is pod/uid; "!" stands for null endpoints. A slice has pod/uid, with -
// before what is not ready and ? before what says nothing.
// reading decodes a text.
func reading(text string) func(any) error {
	return func(to any) error { return json.Unmarshal([]byte(text), to) }
}

func object1(name, spec string) *object {
	o := new(object)
	o.Metadata.Name = name
	pod, uid, _ := strings.Cut(spec, "/")
	o.Metadata.OwnerReferences = []reference{{Kind: "Pod", Name: pod, UID: strings.TrimSuffix(uid, "!")}}
	if !strings.HasSuffix(uid, "!") {
		o.Spec.Data.Endpoints = map[string]json.RawMessage{
			"n/c/e/1": json.RawMessage(`{"namespace":"n","component":"c","endpoint":"e","instance_id":1,"transport":{"tcp":"h:1"}}`),
		}
	}
	return o
}

func sliceOf(name string, specs ...string) *object {
	o := new(object)
	o.Metadata.Name = name
	for _, spec := range specs {
		yes, no := true, false
		e := sliceEndpoint{Addresses: []string{"10.0.0.1"}}
		e.Conditions.Ready = &yes
		switch spec[0] {
		case '-':
			e.Conditions.Ready = &no
		case '?':
			e.Conditions.Ready = nil
		}
		pod, uid, _ := strings.Cut(strings.TrimLeft(spec, "-?"), "/")
		e.TargetRef = &reference{Kind: "Pod", Name: pod, UID: uid}
		o.Endpoints = append(o.Endpoints, e)
	}
	return o
}

// Each case says which slices there are, which worker, and whether it is listed.
func TestJoin(t *testing.T) {
	for _, tt := range []struct {
		name   string
		worker string // pod/uid; empty: none
		slices [][]string
		want   bool
		reject string
	}{
		{name: "ready", worker: "p/u", slices: [][]string{{"p/u"}}, want: true},
		{name: "not ready", worker: "p/u", slices: [][]string{{"-p/u"}}},
		{name: "readiness not said", worker: "p/u", slices: [][]string{{"?p/u"}}},
		{name: "no slice", worker: "p/u"},
		{name: "another pod's slice", worker: "p/u", slices: [][]string{{"q/u"}}},
		{name: "no metadata", slices: [][]string{{"p/u"}}},
		{name: "metadata of a former pod", worker: "p/u", slices: [][]string{{"p/v"}}},
		{name: "no endpoints for a revision", worker: "p/u!", slices: [][]string{{"p/u"}}},
		{name: "two slices of one life", worker: "p/u", slices: [][]string{{"p/u"}, {"p/u"}}, want: true},
		{name: "one of two is not ready", worker: "p/u", slices: [][]string{{"-p/u"}, {"p/u"}}, want: true},
		{name: "two lives", worker: "p/u", slices: [][]string{{"p/u"}, {"p/v"}}, reject: "uids u and v"},
		{name: "two lives in one slice", worker: "p/u", slices: [][]string{{"p/u", "p/v"}}, reject: "uids u and v"},
		{name: "two lives, one not ready", worker: "p/u", slices: [][]string{{"p/u"}, {"-p/v"}}, want: true},
		{name: "among others", worker: "p/u", slices: [][]string{{"a/b", "p/u", "-c/d"}}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJoin(nil)
			var all []*object
			for n, specs := range tt.slices {
				all = append(all, sliceOf(string(rune('a'+n)), specs...))
			}
			j.replace(ready, all)
			if tt.worker != "" {
				pod, _, _ := strings.Cut(tt.worker, "/")
				j.put(workers, object1(pod, tt.worker))
			}
			entries, _ := j.changes()
			if got := len(entries.Instances) == 1; got != tt.want {
				t.Errorf("listed = %v, want %v", got, tt.want)
			}
			var why string
			for _, r := range entries.Rejects {
				why = r.Detail
			}
			if tt.reject == "" && why != "" || !strings.Contains(why, tt.reject) {
				t.Errorf("left out for %q, want %q", why, tt.reject)
			}
		})
	}
}

// What changes concerns its own pods, and what is told to be gone is what was told to be there.
func TestJoinChanges(t *testing.T) {
	j := newJoin(nil)
	version := 0
	step := func(what string, do func(), wantNow, wantGone int) {
		t.Helper()
		do()
		now, gone := j.changes()
		left := slices.DeleteFunc(gone.Instances, func(k dynmesh.InstanceKey) bool { _, ok := now.Instances[k]; return ok })
		if len(now.Instances) != wantNow || len(left) != wantGone {
			t.Errorf("%s: %d are listed, %d gone, want %d, %d", what, len(now.Instances), len(left), wantNow, wantGone)
		}
	}
	fresh := func(o *object) *object {
		version++
		o.Metadata.ResourceVersion = string(rune('a' + version))
		return o
	}
	worker := object1("p", "p/u")
	step("metadata first", func() { j.put(workers, fresh(worker)) }, 0, 0)
	step("ready", func() { j.put(ready, fresh(sliceOf("s", "p/u"))) }, 1, 0)
	step("nothing", func() {}, 0, 0)
	step("another pod", func() { j.put(ready, fresh(sliceOf("t", "q/u"))) }, 0, 0)
	step("the same once more", func() { j.put(workers, worker) }, 0, 0)
	step("not ready", func() { j.put(ready, fresh(sliceOf("s", "-p/u"))) }, 0, 1)
	step("ready again", func() { j.put(ready, fresh(sliceOf("s", "p/u"))) }, 1, 0)
	step("in another slice, too", func() { j.put(ready, fresh(sliceOf("s2", "p/u"))) }, 1, 0)
	step("not in the first any more", func() { j.remove(ready, "s") }, 1, 0)
	step("a new life", func() { j.put(ready, fresh(sliceOf("s2", "p/v"))) }, 0, 1)
	step("which says what it serves", func() { j.put(workers, fresh(object1("p", "p/v"))) }, 1, 0)
	step("metadata gone", func() { j.remove(workers, "p") }, 0, 1)
	step("all gone", func() { j.replace(ready, nil) }, 0, 0)
	if len(j.slices)+len(j.listed) != 0 {
		t.Errorf("%v, %v are kept", j.slices, j.listed)
	}
}

// Pods of a Service are listed ready or not, each once, at the port that is meant.
func TestServices(t *testing.T) {
	const text = `{"metadata":{"name":"vllm-abc","namespace":"prod","labels":{"kubernetes.io/service-name":"vllm"}},"addressType":"IPv4",
		"ports":[{"name":"metrics","port":9400},{"name":"http","port":8000,"protocol":"TCP"},{"name":"quic","port":8000,"protocol":"UDP"}],
		"endpoints":[
			{"addresses":["10.0.0.1"],"conditions":{"ready":true},"nodeName":"a","zone":"z","targetRef":{"kind":"Pod","name":"p","uid":"u"}},
			{"addresses":["10.0.0.2"],"conditions":{"ready":false,"terminating":true},"targetRef":{"kind":"Pod","name":"q","uid":"v"}},
			{"addresses":["192.0.2.7"],"conditions":{}}]}`
	const six = `{"metadata":{"name":"vllm-six","namespace":"prod","labels":{"kubernetes.io/service-name":"vllm"}},"addressType":"IPv6",
		"ports":[{"name":"http","port":8000}],
		"endpoints":[{"addresses":["fd00::1"],"targetRef":{"kind":"Pod","name":"p","uid":"u"}}]}`
	list := func(port string, objects ...string) discovery.Entries {
		t.Helper()
		j := newJoin([]string{port})
		for _, text := range objects {
			o, err := decodeObject(reading(text))
			if err != nil {
				t.Fatal(err)
			}
			j.put(services, o)
		}
		return j.all()
	}
	for _, port := range []string{"http", "8000"} {
		got := map[string]dynmesh.Pod{}
		for key, i := range list(port, text, six).Instances {
			got[key.Endpoint.String()+" "+string(i.Transport)] = *i.Pod
		}
		want := map[string]dynmesh.Pod{
			`dyn://prod.vllm.http {"http":"http://10.0.0.1:8000"}`:  {Name: "p", UID: "u", Node: "a", Zone: "z", Ready: true},
			`dyn://prod.vllm.http {"http":"http://10.0.0.2:8000"}`:  {Name: "q", UID: "v", Terminating: true},
			`dyn://prod.vllm.http {"http":"http://192.0.2.7:8000"}`: {Name: "192.0.2.7", Ready: true},
		}
		if !maps.Equal(got, want) {
			t.Errorf("port %s: %+v, want %+v", port, got, want)
		}
	}
	for port, want := range map[string]string{"": `want the port "", the Service has ["metrics 9400" "http 8000"]`, "grpc": `want the port "grpc"`} {
		entries := list(port, text)
		if why := entries.Rejects["endpointslice/vllm-abc"]; len(entries.Instances) != 0 || !strings.Contains(why.Detail, want) {
			t.Errorf("port %q: %d instances, left out for %q", port, len(entries.Instances), why.Detail)
		}
	}
	if got := list("", six).Instances; len(got) != 1 {
		t.Errorf("%d instances at the only port", len(got))
	}
	const none = `{"metadata":{"name":"vllm-none","namespace":"prod"},"addressType":"IPv4","endpoints":null,"ports":null}`
	if got := list("http", none); len(got.Instances)+len(got.Rejects) != 0 {
		t.Errorf("of a Service without pods: %v", got)
	}
}

// A pod's ReplicaSet is known by the pod's name, and nothing else is taken for one.
func TestRolloutOf(t *testing.T) {
	for pod, want := range map[string]string{
		"vllm-6d4cf56db6-x7k2p": "vllm-6d4cf56db6", "a-b-c-7c9d8bb5d-zzzzz": "a-b-c-7c9d8bb5d",
		"vllm-0": "", "vllm-decode-12": "", "exporter-x7k2p": "", "node-exporter-x7k2p": "", "vllm-6d4cf56db6-x7k2": "", "vllm-6d4cf56db6-x7k2a": "",
		"vllm-6d4-x7k2p": "", "-6d4cf56db6-x7k2p": "", "10.0.0.1": "", "": "", "-": "", "--": "", "6d4cf56db6-x7k2p": "",
	} {
		if got := rolloutOf(pod); got != want {
			t.Errorf("%q: got %q, want %q", pod, got, want)
		}
	}
}

// An object that is not what it should be takes no other with it.
func TestFaultyObject(t *testing.T) {
	o, err := decodeObject(reading(`{"metadata":{"name":"p"},"spec":{"data":{"endpoints":7}}}`))
	if err != nil {
		t.Fatal(err)
	}
	j := newJoin([]string{"http"})
	j.put(workers, o)
	j.put(services, sliceOf("s", "q/u")) // without a port
	for range 2 {                        // at first, and after an absence
		if r := j.all().Rejects; len(r) != 2 || r["dynamoworkermetadata/p"].Reason != dynmesh.RejectJSON || r["endpointslice/s"].Reason != dynmesh.RejectField {
			t.Errorf("left out: %v", r)
		}
	}
	if _, err := decodeObject(reading(`{"metadata":{}}`)); err == nil {
		t.Error("an object without a name is one")
	}
}
