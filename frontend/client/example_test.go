package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// A rollout waits for three workers, of which one has come.
func ExampleClient_Wait() {
	frontend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":1,"discovery":{"state":"synced"},"endpoints":[{"endpoint":"dyn://dynamo.backend.generate",
			"instances":[{"id":"1f","verdict":"ready","registered":true}]}]}`)
	}))
	defer frontend.Close()

	c, err := client.New(client.Config{URL: frontend.URL})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	expected, err := expect.Parse("dyn://dynamo.backend.generate>=3")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err = c.Wait(ctx, expected, func(line string) { fmt.Println("waiting:", line) })
	if e, ok := errors.AsType[*client.WaitError](err); ok && e.Last != nil {
		fmt.Println("have", e.Last.Expectations[0].Have)
	}
	// Output:
	// waiting: not ready: dyn://dynamo.backend.generate: 1 of 3 ready: 2 missing (ready: 1f)
	// have 1
}
