package frontend

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Each update of this storm adds one instance to each of two endpoints and takes away the ones that
// came 50 updates before. So every state that ever was holds the same run of IDs for both, and a
// body that holds anything else is half of one update, or a mix of two.
func TestReadersSeeWholeUpdates(t *testing.T) {
	t.Parallel()
	const total, kept, readers = 3000, 50, 4
	source := make(updates)
	f := start(t, Config{}, source)
	stormOver, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for i := range readers {
		wg.Go(func() {
			accept := []string{"", "gzip"}[i%2]
			newest := uint64(0)
			for stormOver.Err() == nil {
				got, err := f.try("/health", "Accept-Encoding", accept)
				if err != nil {
					t.Error(err)
					return
				}
				if got.header.Get("Content-Encoding") == "gzip" {
					got.body = testkit.Gunzip(t, got.body)
				}
				newest, err = checkStorm(got.body, kept, newest)
				if err != nil {
					t.Errorf("%v in\n%.400s", err, got.body)
					return
				}
			}
		})
	}
	for n := uint64(1); n <= total; n++ {
		a, b := testkit.Key("dynamo", "a", "generate", n), testkit.Key("dynamo", "b", "generate", n)
		u := testkit.Synced(testkit.HTTPInstance(a), testkit.HTTPInstance(b))
		if n > kept {
			a.ID -= kept
			b.ID -= kept
			u.Deletes = []dynmesh.InstanceKey{a, b}
		}
		source <- u
	}
	eventually(t, "the last update", func() bool {
		newest, err := checkStorm(f.get("/health").body, kept, 0)
		return err == nil && newest == total
	})
}

// checkStorm returns the newest ID in a body of the storm above.
func checkStorm(body string, kept int, newest uint64) (uint64, error) {
	var health struct {
		Status    string
		Endpoints []string
		Instances []struct {
			Component  string
			InstanceID uint64 `json:"instance_id"`
		}
	}
	if err := json.Unmarshal([]byte(body), &health); err != nil {
		return 0, err
	}
	if health.Status != "healthy" {
		return 0, fmt.Errorf("got status %q, want healthy", health.Status)
	}
	ids := map[string][]uint64{}
	for _, i := range health.Instances {
		ids[i.Component] = append(ids[i.Component], i.InstanceID)
	}
	if !slices.Equal(ids["a"], ids["b"]) {
		return 0, fmt.Errorf("got %v of a and %v of b, want the same", ids["a"], ids["b"])
	}
	if len(ids["a"]) == 0 {
		if newest > 0 {
			return 0, fmt.Errorf("got nothing after %d", newest)
		}
		return 0, nil
	}
	first, last := ids["a"][0], ids["a"][len(ids["a"])-1]
	if want := min(int(last), kept); len(ids["a"]) != want || int(last-first)+1 != want {
		return 0, fmt.Errorf("got %d IDs from %d to %d, want a run of %d", len(ids["a"]), first, last, want)
	}
	if last < newest {
		return 0, fmt.Errorf("got %d after %d: back in time", last, newest)
	}
	return last, nil
}
