package frontend

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// stoppable tells when it was stopped.
type stoppable struct {
	updates
	stopped func()
}

func (s stoppable) Run(ctx context.Context, apply func(dynmesh.RegistryUpdate)) error {
	defer s.stopped()
	return s.updates.Run(ctx, apply)
}

func TestShutdownOrder(t *testing.T) {
	t.Parallel()
	var f *running
	acceptedWhenStopped := make(chan bool, 1)
	source := stoppable{make(updates), func() { acceptedWhenStopped <- testkit.Accepts(f.Addr()) }}
	f = start(t, Config{GracefulShutdownTimeout: patience}, source) // it lingers for 1 s
	if got := f.get("/live"); got.code != http.StatusOK {
		t.Fatalf("/live: got %d, want 200", got.code)
	}
	f.stop()
	eventually(t, "503", func() bool { return f.get("/health").code == http.StatusServiceUnavailable })
	if got := f.get("/live"); got.code != http.StatusOK || got.body != `{"message":"Service is live","status":"live"}` {
		t.Errorf("/live while it drains: got %d %s, want that it is live", got.code, got.body)
	}
	const want = `{"message":"Service is shutting down","status":"shutting_down"}`
	for _, path := range []string{"/ready", "/health"} {
		// On a connection of its own: the listener still accepts.
		f.client.CloseIdleConnections()
		got := f.get(path)
		if got.code != http.StatusServiceUnavailable || got.body != want {
			t.Errorf("%s: got %d %s, want 503 %s", path, got.code, got.body, want)
		}
		if !got.closes {
			t.Errorf("%s: got a connection kept alive, want Connection: close: the drain need not wait for the client", path)
		}
	}
	if err := <-f.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if <-acceptedWhenStopped {
		t.Error("the source was stopped while the listener still accepted")
	}
	if testkit.Accepts(f.Addr()) {
		t.Error("the port is still bound after Run has returned")
	}
}

func TestRunsOnce(t *testing.T) {
	f := start(t, Config{}, make(updates))
	if got := f.get("/live").code; got != http.StatusOK {
		t.Fatalf("got %d, want 200", got)
	}
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "run before") {
		t.Errorf("got %v, want a refusal", err)
	}
	if got := f.get("/live").code; got != http.StatusOK {
		t.Errorf("got %d, want the first run undisturbed", got)
	}
}

func TestEndedContextReleasesThePort(t *testing.T) {
	f, err := New(Config{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if testkit.Accepts(f.Addr()) {
		t.Error("the port is still bound")
	}
}

type broken struct{ error }

func (b broken) Run(context.Context, func(dynmesh.RegistryUpdate)) error { return b.error }

func TestSourceThatEndsIsAnError(t *testing.T) {
	cause := errors.New("no more")
	f := start(t, Config{}, broken{cause})
	if err := <-f.done; !errors.Is(err, cause) || err.Error() != "run frontend: follow etcd: no more" {
		t.Errorf("got %v, want %v", err, cause)
	}
	f = start(t, Config{}, broken{nil})
	if err := <-f.done; err == nil {
		t.Error("got nil, want an error: a frontend that watches nothing must not look well")
	}
}

func TestGRPCHealthPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if _, err := New(Config{Host: "127.0.0.1", GRPCHealthAddr: taken.Addr().String()}); err == nil || !strings.Contains(err.Error(), "GRPCHealthAddr: listen "+taken.Addr().String()) {
		t.Errorf("got %v, want the address", err)
	}
	f, err := New(Config{Host: "127.0.0.1", GRPCHealthAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Run(ended); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", f.GRPCHealthAddr())
	if err != nil {
		t.Errorf("got %v, want the port to be free again", err)
	} else {
		_ = again.Close()
	}
}
