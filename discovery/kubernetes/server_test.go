package kubernetes_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh/discovery/kubernetes"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// The paths of the two kinds of objects.
const (
	namespace   = "dynamo"
	workersPath = "/apis/nvidia.com/v1alpha1/namespaces/" + namespace + "/dynamoworkermetadatas"
	slicesPath  = "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"
)

// apiServer is what of an API server a client sees that lists and watches: over HTTP/2 and TLS,
// with pages, versions, events, bookmarks and errors as a real one has them.
type apiServer struct {
	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex
	version  int
	oldest   int                          // watches from before it are answered 410
	objects  map[string]map[string]stored // by path and name
	events   []event
	changed  chan struct{} // closed and replaced at each change
	refusal  map[string]int
	requests []string
	ended    chan struct{}
}

// stored is an object as it is sent.
type stored struct {
	labels map[string]any
	raw    json.RawMessage
}

type event struct {
	version int
	path    string
	kind    string
	object  stored
}

func startServer(t testing.TB) *apiServer {
	t.Helper()
	s := &apiServer{
		t: t, version: 100, changed: make(chan struct{}), refusal: map[string]int{}, ended: make(chan struct{}),
		objects: map[string]map[string]stored{workersPath: {}, slicesPath: {}},
	}
	s.server = httptest.NewUnstartedServer(s)
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	t.Cleanup(func() {
		close(s.ended)
		s.server.Close()
	})
	return s
}

// source returns a source that reaches the server through a network.
func (s *apiServer) source(cfg kubernetes.Config) (*kubernetes.Source, *testkit.Network) {
	s.t.Helper()
	net := testkit.StartNetwork(s.t, s.server.Listener.Addr().String())
	folder := s.t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(folder, "ca"), ca, 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg.Kubeconfig = filepath.Join(folder, "config")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: ca, tls-server-name: example.com}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: %s}}]
current-context: c
`, net.Addr(), namespace)
	if err := os.WriteFile(cfg.Kubeconfig, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	source, err := kubernetes.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return source, net
}

// put writes an object, and makes it one of the server's.
func (s *apiServer) put(path string, o map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta := o["metadata"].(map[string]any)
	name := meta["name"].(string)
	kind := "ADDED"
	if _, ok := s.objects[path][name]; ok {
		kind = "MODIFIED"
	}
	s.version++
	meta["namespace"], meta["resourceVersion"] = namespace, strconv.Itoa(s.version)
	raw, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	labels, _ := meta["labels"].(map[string]any)
	s.objects[path][name] = stored{labels, raw}
	s.record(event{s.version, path, kind, s.objects[path][name]})
}

func (s *apiServer) remove(path, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[path][name]
	if !ok {
		return
	}
	delete(s.objects[path], name)
	s.version++
	o.raw = fmt.Appendf(nil, `{"metadata":{"name":%q,"resourceVersion":"%d"}}`, name, s.version)
	s.record(event{s.version, path, "DELETED", o})
}

func (s *apiServer) record(e event) {
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// compact has the server forget what came before.
func (s *apiServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest, s.events = s.version+1, nil
}

// refuse answers requests for a path with a code; 0: no longer.
func (s *apiServer) refuse(path string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal[path] = code
}

// asked returns how many requests there were whose text has a part.
func (s *apiServer) asked(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.String())
	code, known := s.refusal[r.URL.Path], s.objects[r.URL.Path] != nil
	s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		refuse(w, http.StatusUnauthorized, "Unauthorized")
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "read only")
	case code != 0:
		refuse(w, code, "refused by the test")
	case !known:
		refuse(w, http.StatusNotFound, "the server could not find the requested resource")
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	default:
		s.list(w, r)
	}
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "code": code, "message": message})
}

// list answers in pages; the place of the next one is its first name.
func (s *apiServer) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	var names []string
	for name, o := range s.objects[r.URL.Path] {
		if name >= q.Get("continue") && o.selected(q.Get("labelSelector")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	meta := map[string]any{"resourceVersion": strconv.Itoa(s.version)}
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && limit < len(names) {
		meta["continue"] = names[limit]
		names = names[:limit]
	}
	head, err := json.Marshal(meta)
	if err != nil {
		s.t.Error(err)
	}
	body := fmt.Appendf(nil, `{"kind":"List","metadata":%s,"items":[`, head)
	for n, name := range names {
		if n > 0 {
			body = append(body, ',')
		}
		body = append(body, s.objects[r.URL.Path][name].raw...)
	}
	s.mu.Unlock()
	_, _ = w.Write(append(body, "]}"...))
}

func (o stored) selected(selector string) bool {
	for term := range strings.SplitSeq(selector, ",") {
		if name, value, ok := strings.Cut(term, "="); ok && o.labels[name] != value {
			return false
		}
	}
	return true
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("resourceVersion"))
	send := func(kind string, raw []byte) { _, _ = fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", kind, raw) }
	for first := true; ; first = false {
		s.mu.Lock()
		if from < s.oldest-1 {
			s.mu.Unlock()
			if first {
				refuse(w, http.StatusGone, "too old resource version")
			} else {
				send("ERROR", []byte(`{"kind":"Status","code":410,"message":"too old resource version"}`))
			}
			return
		}
		var events []event
		next, _ := slices.BinarySearchFunc(s.events, from+1, func(e event, version int) int { return e.version - version })
		for _, e := range s.events[next:] {
			if e.path == r.URL.Path && e.object.selected(q.Get("labelSelector")) {
				events = append(events, e)
			}
		}
		from = s.version
		changed := s.changed
		for _, e := range events {
			send(e.kind, e.object.raw)
		}
		s.mu.Unlock()
		send("BOOKMARK", fmt.Appendf(nil, `{"metadata":{"resourceVersion":"%d"}}`, from))
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.ended:
			return
		}
	}
}
