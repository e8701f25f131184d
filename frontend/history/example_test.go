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
type one struct {
	history.Subject
	json []byte
}

func (one) About() []byte { return []byte(`{}`) }
func (o one) Each() iter.Seq2[history.Subject, []byte] {
	return func(yield func(history.Subject, []byte) bool) { yield(o.Subject, o.json) }
}

func Example() {
	dir, err := os.MkdirTemp("", "history")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fleet := one{
		history.Subject{Endpoint: "dyn://dynamo.backend.generate", ID: 0x694d},
		[]byte(`{"id":"694d","verdict":"ready","reasons":["its canary passed"]}`),
	}
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
	j.Record([]history.Entry{{Subject: fleet.Subject, At: time.Now(), To: dynmesh.Ready, Data: fleet.json}}, false)
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
