package frontend

import (
	"context"
	"errors"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Gossip is left when nobody asks any more, and before etcd is let go.
func TestShutdownOrderWithGossip(t *testing.T) {
	t.Parallel()
	var f *running
	stopped := make(chan struct{})
	source := stoppable{make(updates), func() { close(stopped) }}
	pool := newFakePool()
	accepted, sourceStopped := make(chan bool, 1), make(chan bool, 1)
	pool.leave = func() error {
		accepted <- testkit.Accepts(f.Addr())
		select {
		case <-stopped:
			sourceStopped <- true
		default:
			sourceStopped <- false
		}
		return nil
	}
	f = start(t, Config{Pool: pool}, source)
	<-pool.running
	if got := f.get("/mesh").code; got != 200 {
		t.Fatalf("got %d", got)
	}
	f.stop()
	if err := <-f.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if <-accepted {
		t.Error("gossip was left while the listener still accepted")
	}
	if <-sourceStopped {
		t.Error("etcd was let go before gossip was left")
	}
	<-stopped
}

func TestGossipThatEndsIsAnError(t *testing.T) {
	for want, cause := range map[string]error{
		"run frontend: gossip: no more":         errors.New("no more"),
		"run frontend: gossip: ended by itself": nil,
	} {
		pool := newFakePool()
		f := start(t, Config{Pool: pool}, make(updates))
		pool.fail <- cause
		if err := <-f.done; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLeaveThatFailsIsAnError(t *testing.T) {
	pool := newFakePool()
	pool.leave = func() error { return errors.New("nobody heard it") }
	f := start(t, Config{Pool: pool}, make(updates))
	<-pool.running
	f.stop()
	if err := <-f.done; err == nil || err.Error() != "run frontend: leave gossip: nobody heard it" {
		t.Errorf("got %v", err)
	}
}

func TestEndedContextReleasesThePool(t *testing.T) {
	pool := newFakePool()
	f, err := New(Config{Host: "127.0.0.1", Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if !pool.closed {
		t.Error("the pool is open")
	}
	select {
	case <-pool.running:
		t.Error("the pool ran")
	default:
	}
}
