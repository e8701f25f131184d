package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"
)

// client asks the API server as somebody.
type client struct {
	http        *http.Client
	root, token string
}

type object = map[string]any

// ask returns the status of an answer, 0 where there is none, and its body.
func (c client) ask(ctx context.Context, method, path, contentType string, body any) (int, []byte) {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, []byte(err.Error())
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.root+path, content)
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, answer
}

// must returns the object that an answer holds.
func (c client) must(t *testing.T, method, path, contentType string, body any) object {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, answer := c.ask(ctx, method, path, contentType, body)
	if status < 200 || status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	var o object
	if err := json.Unmarshal(answer, &o); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return o
}

func (c client) create(t *testing.T, path string, o object) object {
	t.Helper()
	return c.must(t, http.MethodPost, path, "application/json", o)
}

func (c client) remove(t *testing.T, path string) {
	t.Helper()
	c.must(t, http.MethodDelete, path+"?gracePeriodSeconds=0", "", nil)
}

func (c client) patch(t *testing.T, path string, o object) {
	t.Helper()
	c.must(t, http.MethodPatch, path, "application/strategic-merge-patch+json", o)
}

// at returns what stands at a path of fields.
func at(o object, fields ...string) string {
	var v any = o
	for _, f := range fields {
		inner, _ := v.(object)
		v = inner[f]
	}
	s, _ := v.(string)
	return s
}

// asked is a request that the API server has noted.
type asked struct {
	Stage string `json:"stage"`
	Verb  string `json:"verb"`
	User  struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
	} `json:"objectRef"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	URI  string    `json:"requestURI"`
	From time.Time `json:"requestReceivedTimestamp"`
}

// askedBy returns what somebody has asked for, each request once.
func (p *plane) askedBy(t *testing.T, user string) (all []asked) {
	t.Helper()
	f, err := os.Open(p.file("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a asked
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // its end is being written
		}
		isWatchsEnd := a.Verb == "watch" && a.Stage == "ResponseComplete" && a.Status.Code < 300
		if a.User.Username == user && !isWatchsEnd {
			all = append(all, a)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// account returns a token of a service account.
func (p *plane) account(t *testing.T, namespace, name string) string {
	t.Helper()
	path := fmt.Sprintf("/api/v1/namespaces/%s/serviceaccounts/%s/token", namespace, name)
	o := p.admin.create(t, path, object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": object{"expirationSeconds": 7200}})
	return at(o, "status", "token")
}
