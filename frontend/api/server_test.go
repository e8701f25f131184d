package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestAnswersOnTheirWayAreFinished(t *testing.T) {
	t.Parallel()
	f := large(t, Config{GracefulShutdownTimeout: patience}, func(s *Server) { s.drainDelay = 0 })
	size := f.newest.Load().Health.Identity.Size
	c := f.slowClient()
	eventually(t, "an answer on its way", func() bool { return f.sendingNow() == 1 })
	f.stop()
	eventually(t, "a closed listener", func() bool { return !testkit.Accepts(f.Addr()) })
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got, err := io.Copy(io.Discard, res.Body); int(got) != size || err != nil {
		t.Errorf("got %d bytes, %v, want %d", got, err, size)
	}
	if err := <-f.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil) // a timeout of 50 ms
	f.slowClient()
	silent, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	eventually(t, "both clients", func() bool { return f.sendingNow() == 1 && f.connections.len() >= 2 })
	eventually(t, "an end of rendering", func() bool { return f.newest.Load().Mesh.Gzip() != nil })
	pace, began := testkit.Paced(t), time.Now()
	f.stop()
	if err := <-f.done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if took := pace.Since(began); took > 3*time.Second {
		t.Errorf("took %v, want about 50 ms", took)
	}
	if got := f.connections.len(); got != 0 {
		t.Errorf("got %d connections left, want 0", got)
	}
}

func TestListenerThatEndsIsAnError(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	eventually(t, "the server", func() bool { return f.get("/live").code == http.StatusOK })
	_ = f.connections.Listener.Close()
	if err := <-f.done; err == nil || !strings.Contains(err.Error(), "serve "+f.Addr()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}
