package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// meshView is what the scenarios read of a frontend's /mesh.
type meshView struct {
	Version   uint64 `json:"version"`
	Discovery struct {
		State string `json:"state"`
	} `json:"discovery"`
	Gossip struct {
		Members int `json:"members"`
		Alive   int `json:"alive"`
		Dead    int `json:"dead"`
	} `json:"gossip"`
	Endpoints []meshEndpoint `json:"endpoints"`
	Warnings  []string       `json:"warnings"`
	Causes    []struct {
		Line string `json:"line"`
	} `json:"causes"`
}

type meshEndpoint struct {
	Endpoint     string         `json:"endpoint"`
	Registered   int            `json:"registered"`
	Ready        int            `json:"ready"`
	NotReady     int            `json:"notready"`
	Unreachable  int            `json:"unreachable"`
	Draining     int            `json:"draining"`
	Unregistered int            `json:"unregistered"`
	Expected     int            `json:"expected"`
	Instances    []meshInstance `json:"instances"`
}

type meshInstance struct {
	ID         string       `json:"id"`
	Verdict    string       `json:"verdict"`
	Verified   bool         `json:"verified"`
	Registered bool         `json:"registered"`
	Since      time.Time    `json:"since"`
	Reasons    []string     `json:"reasons"`
	Changes    []meshChange `json:"changes"`
}

type meshChange struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to"`
}

func (i meshInstance) String() string {
	return fmt.Sprintf("%s is %s (%s)", i.ID, i.Verdict, strings.Join(i.Reasons, "; "))
}

func (f *frontend) mesh(client *http.Client) (m meshView, err error) {
	r, err := get(client, f.url("/mesh"))
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("/mesh answers %d: %.200s", r.status, r.body)
	}
	if err != nil {
		return meshView{}, err
	}
	return m, json.Unmarshal(r.body, &m)
}

// of returns the instances of a worker.
func (m meshView) of(w *worker) []meshInstance {
	id := strconv.FormatUint(w.id, 16)
	var found []meshInstance
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			if i.ID == id {
				found = append(found, i)
			}
		}
	}
	return found
}

// says returns nil if the frontend's verdict on all instances of these workers is the given one.
func (f *frontend) says(client *http.Client, verdict string, workers ...*worker) error {
	m, err := f.mesh(client)
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range workers {
		found := m.of(w)
		if len(found) == 0 {
			errs = append(errs, fmt.Errorf("%s does not know %s (%x)", f.name(), w.name(), w.id))
		}
		for _, i := range found {
			if i.Verdict != verdict {
				errs = append(errs, fmt.Errorf("%s says that %s: %v, want %s", f.name(), w.name(), i, verdict))
			}
		}
	}
	return errors.Join(errs...)
}

// awaitVerdict waits until every frontend gives this verdict on all these workers, and returns how
// long that took, as eventually tells it. It asks over connections that stay, every 5 ms, since it
// measures.
func awaitVerdict(t *testing.T, limit time.Duration, frontends []*frontend, verdict string, workers ...*worker) time.Duration {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	pace := testkit.Paced(t)
	defer pace.Stop()
	began := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	waiting := slices.Clone(frontends)
	for {
		var last error
		waiting = slices.DeleteFunc(waiting, func(f *frontend) bool {
			err := f.says(client, verdict, workers...)
			if err != nil {
				last = err
			}
			return err == nil
		})
		took := pace.Since(began)
		if len(waiting) == 0 {
			return took
		}
		if took > limit {
			t.Fatalf("%s on every frontend: not within %v, nor %v on the clock: %v", verdict, limit, millis(time.Since(began)), last)
		}
		<-ticker.C
	}
}

// neverUnreachable begins a vigil: no verdict on these workers is unreachable.
func (w *world) neverUnreachable(frontends []*frontend, workers ...*worker) []*vigil {
	var out []*vigil
	for _, f := range frontends {
		out = append(out, w.throughout("no worker is unreachable on "+f.name(), 50*time.Millisecond, func(client *http.Client) error {
			m, err := f.mesh(client)
			if err != nil {
				return err
			}
			for _, w := range workers {
				for _, i := range m.of(w) {
					if i.Verdict == "unreachable" {
						return fmt.Errorf("%s: %v", w.name(), i)
					}
				}
			}
			return nil
		}))
	}
	return out
}

// falls counts how often a worker's instances became unreachable, by the changes that a frontend
// remembers.
func (m meshView) falls(since time.Time, workers ...*worker) (n int) {
	for _, w := range workers {
		for _, i := range m.of(w) {
			for _, c := range i.Changes {
				if c.To == "unreachable" && c.At.After(since) {
					n++
				}
			}
		}
	}
	return n
}

// quantiles is how a series of times is told: median and longest.
func quantiles(times []time.Duration) (p50, longest time.Duration) {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)-1)/2], sorted[len(sorted)-1]
}
