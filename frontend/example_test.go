package frontend_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend"
)

// A frontend beside an etcd of its own, in which nothing is registered yet.
func Example() {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Close() }()

	f, err := frontend.New(frontend.Config{
		Host: "127.0.0.1",
		Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- f.Run(ctx) }()

	for _, path := range []string{"/live", "/health"} {
		fmt.Println(get("http://" + f.Addr() + path))
	}
	stop()
	fmt.Println(<-stopped)
	// Output:
	// {"message":"Service is live","status":"live"}
	// {"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}
	// <nil>
}

// get returns the body, or the error, which no test expects.
func get(url string) string {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	res, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
