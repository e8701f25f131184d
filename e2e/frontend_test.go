package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ask is the client for everything that should be answered at once. It keeps no connection:
// addresses are used again by other programs.
func ask() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func get(client *http.Client, url string) (reply, error) {
	answer, err := client.Get(url)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, body}, err
}

// health is a frontend's answer.
type health struct {
	Endpoints []string     `json:"endpoints"`
	Instances []registered `json:"instances"`
	Message   string       `json:"message"`
	Status    string       `json:"status"`

	discovery string // synced, stale, syncing: the header's first word
	header    string
	body      []byte
}

// registered is one instance as /health shows it.
type registered struct {
	Namespace string          `json:"namespace"`
	Component string          `json:"component"`
	Endpoint  string          `json:"endpoint"`
	ID        uint64          `json:"instance_id"`
	Transport json.RawMessage `json:"transport"`
}

// key is what a frontend's list is compared by: where etcd has it, if it is Dynamo's.
func (r registered) key() string {
	return foreignInstances + r.Namespace + "/" + r.Component + "/" + r.Endpoint + "/" + strconv.FormatUint(r.ID, 16)
}

func (h health) keys() []string {
	keys := make([]string, 0, len(h.Instances))
	for _, i := range h.Instances {
		keys = append(keys, i.key())
	}
	return keys
}

type frontend struct{ program }

func (f *frontend) name() string           { return f.where().name }
func (f *frontend) url(path string) string { return "http://" + f.where().addr(httpPort) + path }

func (f *frontend) health(client *http.Client) (health, error) {
	r, err := get(client, f.url("/health"))
	if err != nil {
		return health{}, err
	}
	h := health{header: r.header.Get("X-Dynmesh-Discovery"), body: r.body}
	h.discovery, _, _ = strings.Cut(h.header, ";")
	if r.status != http.StatusOK {
		return h, fmt.Errorf("/health answers %d: %.200s", r.status, r.body)
	}
	return h, json.Unmarshal(r.body, &h)
}

// expect returns what is different from the given state of discovery and the instances with the
// given keys, sorted.
func (f *frontend) expect(t *testing.T, discovery string, keys []string) error {
	t.Helper()
	h, err := f.health(ask())
	if err != nil {
		return err
	}
	var errs []error
	if h.discovery != discovery {
		errs = append(errs, fmt.Errorf("%s says %q, want %s", f.name(), h.header, discovery))
	}
	if got := slices.Sorted(slices.Values(h.keys())); !slices.Equal(got, keys) {
		errs = append(errs, fmt.Errorf("%s lists %q, want %q", f.name(), got, keys))
	}
	return errors.Join(errs...)
}

// metric returns the sum of a metric's series.
func (f *frontend) metric(name string) (sum float64, err error) {
	r, err := get(ask(), f.url("/metrics"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(r.body)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		// A label's value may have spaces; the number is what follows the last one.
		number, err := strconv.ParseFloat(value[strings.LastIndex(value, " ")+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", line, err)
		}
		sum += number
	}
	return sum, nil
}

// await waits until every frontend is synced and lists exactly these keys, and returns how long
// that took.
func await(t *testing.T, limit time.Duration, frontends []*frontend, keys []string) time.Duration {
	t.Helper()
	return eventually(t, limit, "every frontend is synced and lists what is registered", func() error {
		for _, f := range frontends {
			if err := f.expect(t, "synced", keys); err != nil {
				return err
			}
		}
		return nil
	})
}
