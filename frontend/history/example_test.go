package history_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// one is a fleet of one instance.
type one struct{ key dynmesh.InstanceKey }

func (one) About() []byte { return []byte(`{}`) }
func (o one) Each() iter.Seq2[history.Subject, []byte] {
	return func(yield func(history.Subject, []byte) bool) {
		yield(history.Subject{Endpoint: o.key.Endpoint.String(), ID: o.key.ID}, o.Of(o.key))
	}
}

func (one) Of(dynmesh.InstanceKey) []byte {
	return []byte(`{"id":"694d","verdict":"ready","reasons":["its canary passed"]}`)
}

func Example() {
	dir, err := os.MkdirTemp("", "history")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fleet := one{dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 0x694d}}
	j, err := history.New(history.Config{Dir: dir, Newest: func() history.Picture { return fleet }, Log: testkit.Quiet()})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.Run(ctx)
	}()
	j.Record(fleet, []history.Change{{At: time.Now(), Key: fleet.key, To: dynmesh.Ready}}, false)
	for {
		if page, err := j.Select(history.Query{Limit: 10}); err == nil && len(page.Entries) > 0 {
			e := page.Entries[0]
			fmt.Println(e.Endpoint, e.ID, "is", e.To)
			break
		}
	}
	stop()
	<-ended
	// Output: dyn://dynamo.backend.generate 694d is ready
}
