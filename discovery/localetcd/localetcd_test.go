package localetcd_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg localetcd.Config) *localetcd.Server {
	t.Helper()
	s, err := localetcd.Start(cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func client(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 3 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Data and address outlive a restart, and an open watch and keepalive hold up neither Close nor its
// caller: the watch goes on by itself afterwards.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, localetcd.Config{Dir: dir})
	c := client(t, first.Endpoint())
	ctx := within(t, 30*time.Second)

	lease, err := c.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.KeepAlive(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	watch := c.Watch(ctx, "k")
	if _, err := c.Put(ctx, "k", "1"); err != nil {
		t.Fatal(err)
	}
	if got := string((<-watch).Events[0].Kv.Value); got != "1" {
		t.Fatalf("got %q from the watch, want 1", got)
	}

	pace, began := testkit.Paced(t), time.Now()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if took := pace.Since(began); took > 3*time.Second {
		t.Errorf("closing with an open watch took %v, want less than 3s", took)
	}
	addr := strings.TrimPrefix(first.Endpoint(), "http://")
	second := start(t, localetcd.Config{Dir: dir, ClientAddr: addr})
	if second.Endpoint() != first.Endpoint() {
		t.Errorf("got endpoint %s after the restart, want %s", second.Endpoint(), first.Endpoint())
	}
	got, err := c.Get(ctx, "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
		t.Fatalf("got %v, %v after the restart, want the value kept", got, err)
	}
	if _, err := c.Put(ctx, "k", "2"); err != nil {
		t.Fatal(err)
	}
	answer, ok := <-watch
	if !ok || answer.Err() != nil || len(answer.Events) != 1 || string(answer.Events[0].Kv.Value) != "2" {
		t.Fatalf("got %+v, %v from the watch after the restart, want the put of 2", answer, ok)
	}
}

func TestStartsAndStopsQuickly(t *testing.T) {
	began := time.Now()
	s := start(t, localetcd.Config{})
	ready := time.Since(began)
	if _, err := client(t, s.Endpoint()).Put(within(t, 10*time.Second), "k", "v"); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready in %v, closed in %v", ready.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

func TestCloseRemovesTemporaryFolder(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := start(t, localetcd.Config{})
	if left := entries(t, tmp); len(left) != 1 {
		t.Fatalf("got %v in the temporary folder while it runs, want one folder", left)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := entries(t, tmp); len(left) != 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for addr, want := range map[string]string{
		taken.Addr().String(): "address already in use",
		"0.0.0.0:0":           "loopback",
		"example.org:2379":    "loopback",
		"127.0.0.1":           "want host:port",
	} {
		s, err := localetcd.Start(localetcd.Config{ClientAddr: addr})
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: got a server, want an error", addr)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: got error %q, want it to name the address and say %q", addr, err, want)
		}
	}
	if left := entries(t, tmp); len(left) != 0 {
		t.Errorf("got %v left behind by failed starts, want nothing", left)
	}
}

// An uneventful life must not put a line in front of a user of `dynmesh up`.
func TestQuiet(t *testing.T) {
	logger, lines := logtest.NewNullLogger()
	s := start(t, localetcd.Config{Log: logrus.NewEntry(logger)})
	c := client(t, s.Endpoint())
	ctx := within(t, 10*time.Second)
	c.Watch(ctx, "k")
	if _, err := c.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines.AllEntries() {
		t.Errorf("got log line %v %q %v, want none", line.Level, line.Message, line.Data)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// A folder that another server uses is refused at once, where etcd would wait for its lock without
// a word.
func TestStartRefusesAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	first, err := localetcd.Start(localetcd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}()
	pace, began := testkit.Paced(t), time.Now()
	second, err := localetcd.Start(localetcd.Config{Dir: dir})
	if err == nil {
		_ = second.Close()
		t.Fatal("a second server started in the same folder")
	}
	if !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("error = %v, want one that says that the folder is in use", err)
	}
	if d := pace.Since(began); d > 5*time.Second {
		t.Errorf("refused after %v", d)
	}
}
