package apitest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Namespace is the one that kubeconfigs name.
const Namespace = "dynamo"

// Object is one, as JSON has it.
type Object = map[string]any

// Server is an API server. Its methods may be called from any goroutine.
type Server struct {
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

// Start starts one that knows the kinds of objects at these paths.
func Start(t testing.TB, paths ...string) *Server {
	t.Helper()
	s := &Server{
		t: t, version: 100, changed: make(chan struct{}), refusal: map[string]int{}, ended: make(chan struct{}),
		objects: map[string]map[string]stored{},
	}
	for _, path := range paths {
		s.objects[path] = map[string]stored{}
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

// Reach returns a kubeconfig's path that leads to the server through a network.
func (s *Server) Reach() (kubeconfig string, net *testkit.Network) {
	s.t.Helper()
	net = testkit.StartNetwork(s.t, s.server.Listener.Addr().String())
	folder := s.t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(folder, "ca"), ca, 0o600); err != nil {
		s.t.Fatal(err)
	}
	kubeconfig = filepath.Join(folder, "config")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: ca, tls-server-name: example.com}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: %s}}]
current-context: c
`, net.Addr(), Namespace)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return kubeconfig, net
}

// Put writes an object, and makes it one of the server's.
func (s *Server) Put(path string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, o)
}

func (s *Server) put(path string, o Object) {
	meta := o["metadata"].(Object)
	name := meta["name"].(string)
	kind := "ADDED"
	if before, ok := s.objects[path][name]; ok {
		kind = "MODIFIED"
		if meta["uid"] == nil {
			meta["uid"] = before.field("metadata", "uid")
		}
	}
	s.version++
	if meta["uid"] == nil {
		meta["uid"] = fmt.Sprintf("uid-%s-%d", name, s.version)
	}
	meta["resourceVersion"] = strconv.Itoa(s.version)
	_, within, _ := strings.Cut(path, "/namespaces/")
	meta["namespace"], _, _ = strings.Cut(within, "/")
	raw, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	labels, _ := meta["labels"].(Object)
	s.objects[path][name] = stored{labels, raw}
	s.record(event{s.version, path, kind, s.objects[path][name]})
}

// object decodes what is stored.
func (o stored) object() (decoded Object) {
	if json.Unmarshal(o.raw, &decoded) != nil {
		return Object{}
	}
	return decoded
}

// field returns what stands at a path of fields; nil: nothing does.
func (o stored) field(fields ...string) (v any) {
	v = o.object()
	for _, f := range fields {
		inner, _ := v.(Object)
		v = inner[f]
	}
	return v
}

// Get returns an object; nil: there is none.
func (s *Server) Get(path, name string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[path][name]; ok {
		return o.object()
	}
	return nil
}

// Names returns those of all objects at a path, in order.
func (s *Server) Names(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects[path]))
}

// Remove removes an object, if it is there.
func (s *Server) Remove(path, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(path, name)
}

func (s *Server) remove(path, name string) {
	o, ok := s.objects[path][name]
	if !ok {
		return
	}
	delete(s.objects[path], name)
	s.version++
	o.raw = fmt.Appendf(nil, `{"metadata":{"name":%q,"resourceVersion":"%d"}}`, name, s.version)
	s.record(event{s.version, path, "DELETED", o})
}

func (s *Server) record(e event) {
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Compact has the server forget what came before.
func (s *Server) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest, s.events = s.version+1, nil
}

// Refuse answers requests for a path, or for a method and a path, with a code; 0: no longer.
func (s *Server) Refuse(path string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal[path] = code
}

// Asked returns how many requests there were whose text has a part.
func (s *Server) Asked(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.String())
	code, known := s.refusal[r.URL.Path], s.objects[r.URL.Path] != nil
	if code == 0 {
		code = s.refusal[r.Method+" "+r.URL.Path]
	}
	s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		refuse(w, http.StatusUnauthorized, "Unauthorized")
	case code != 0:
		refuse(w, code, "refused by the test")
	case !known || r.Method != http.MethodGet:
		s.one(w, r)
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	default:
		s.list(w, r)
	}
}

// one answers a request about one object: reads it, makes it, changes it or takes it away.
func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent Object
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &sent)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPost {
		meta, _ := sent["metadata"].(Object)
		name, _ := meta["name"].(string)
		if s.objects[r.URL.Path] == nil {
			refuse(w, http.StatusNotFound, "the server could not find the requested resource")
			return
		}
		if _, there := s.objects[r.URL.Path][name]; there {
			refuse(w, http.StatusConflict, "it is there already")
			return
		}
		s.put(r.URL.Path, sent)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(s.objects[r.URL.Path][name].raw)
		return
	}
	path, name := splitPath(strings.TrimSuffix(r.URL.Path, "/status"))
	o, there := s.objects[path][name]
	meta, _ := sent["metadata"].(Object)
	switch {
	case !there:
		refuse(w, http.StatusNotFound, fmt.Sprintf("%q not found", name))
		return
	case stale(meta, o, "resourceVersion") || stale(meta, o, "uid"):
		refuse(w, http.StatusConflict, "the object has been modified")
		return
	case r.Method == http.MethodGet:
	case r.Method == http.MethodDelete:
		s.remove(path, name)
	case r.Method == http.MethodPut:
		s.put(path, sent)
	case r.Method == http.MethodPatch:
		s.put(path, merge(o.object(), sent, strings.HasPrefix(r.Header.Get("Content-Type"), "application/strategic")))
	default:
		refuse(w, http.StatusMethodNotAllowed, r.Method)
		return
	}
	if now, ok := s.objects[path][name]; ok {
		o = now
	}
	_, _ = w.Write(o.raw)
}

// stale says whether a request names another version, or another life, than there is.
func stale(meta Object, o stored, field string) bool {
	return meta[field] != nil && meta[field] != o.field("metadata", field)
}

func splitPath(path string) (collection, name string) {
	at := strings.LastIndexByte(path, '/')
	return path[:at], path[at+1:]
}

// merge applies a patch. A strategic one merges conditions by their types.
func merge(o, patch Object, strategic bool) Object {
	for field, v := range patch {
		inner, nested := v.(Object)
		list, listed := v.([]any)
		switch {
		case v == nil:
			delete(o, field)
		case nested:
			before, _ := o[field].(Object)
			if before == nil {
				before = Object{}
			}
			o[field] = merge(before, inner, strategic)
		case listed && strategic && field == "conditions":
			before, _ := o[field].([]any)
			for _, one := range list {
				of := func(c any) bool { return c.(Object)["type"] == one.(Object)["type"] }
				if at := slices.IndexFunc(before, of); at >= 0 {
					before[at] = one
				} else {
					before = append(before, one)
				}
			}
			o[field] = before
		default:
			o[field] = v
		}
	}
	return o
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "code": code, "message": message})
}

// list answers in pages; the place of the next one is its first name.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
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
		if name, value, ok := strings.Cut(term, "!="); ok {
			if o.labels[name] == value {
				return false
			}
		} else if name, value, ok := strings.Cut(term, "="); ok && o.labels[name] != value {
			return false
		}
	}
	return true
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
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
