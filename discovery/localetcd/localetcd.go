package localetcd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/dynmesh/dynmesh/discovery/etcd"
)

const (
	defaultClientAddr = "127.0.0.1:0"
	// startLimit is generous: about 0.2 s is usual, and a slow disk with fsync may take seconds.
	startLimit = 15 * time.Second
	lockLimit  = 500 * time.Millisecond
	// A single node has nobody to hear heartbeats from, so nothing is lost by ticking ten times
	// faster than etcd's default, and it elects itself (so: starts) ten times sooner. It also
	// lowers the shortest lease etcd grants to 1 s.
	tickMs     = 10
	electionMs = 100
)

// Config says where the server keeps its data and listens. The zero value is a throw-away server on
// a free port.
type Config struct {
	// Dir keeps the data. It is made if missing, and may be that of an earlier server, which is how
	// one restarts. Empty means a temporary folder that Close removes; only that is written without
	// fsync.
	Dir string
	// ClientAddr is host:port to serve clients at, on loopback; port 0 picks a free one. Default
	// 127.0.0.1:0.
	ClientAddr string
	// Log gets etcd's own lines. Nil discards them.
	Log *logrus.Entry
}

// Server is a running etcd. Its methods are safe for concurrent use.
type Server struct {
	server  *embed.Etcd
	streams *streamGate
	addr    string
	tempDir string // empty when the data is to be kept

	closeOnce sync.Once
	closeErr  error
}

// Start runs a server and returns once it serves, within 15 s. The error names a port that is in
// use.
func Start(cfg Config) (*Server, error) {
	if cfg.ClientAddr == "" {
		cfg.ClientAddr = defaultClientAddr
	}
	if err := validateLoopback(cfg.ClientAddr); err != nil {
		return nil, fmt.Errorf("start local etcd: ClientAddr %q: %w", cfg.ClientAddr, err)
	}
	if cfg.Log == nil {
		discard := logrus.New()
		discard.SetOutput(io.Discard)
		discard.SetLevel(logrus.PanicLevel)
		cfg.Log = logrus.NewEntry(discard)
	}
	s := &Server{streams: newStreamGate()}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "dynmesh-etcd-")
		if err != nil {
			return nil, fmt.Errorf("start local etcd: %w", err)
		}
		s.tempDir, cfg.Dir = dir, dir
	}
	if err := s.start(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start local etcd on %s: %w", cfg.ClientAddr, err), s.removeTempDir())
	}
	return s, nil
}

func (s *Server) start(cfg Config) error {
	// Asked first, because etcd's own answer comes after it has made its folders, wrapped in the
	// peer's and the client's addresses alike.
	if err := probeFree(cfg.ClientAddr); err != nil {
		return err
	}
	if err := probeUnused(filepath.Join(cfg.Dir, "etcd", "member", "snap", "db")); err != nil {
		return err
	}
	etcd, err := embed.StartEtcd(s.embedConfig(cfg))
	if err != nil {
		return err
	}
	s.server = etcd
	s.addr = etcd.Clients[0].Addr().String()
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return errors.Join(err, s.Close())
	case <-timer.C:
		return errors.Join(fmt.Errorf("not ready after %s", startLimit), s.Close())
	}
}

// minBcryptCost is the least that bcrypt allows.
const minBcryptCost = 4

func (s *Server) embedConfig(cfg Config) *embed.Config {
	client := url.URL{Scheme: "http", Host: cfg.ClientAddr}
	peer := url.URL{Scheme: "http", Host: defaultClientAddr}
	c := embed.NewConfig()
	c.Name = "local"
	c.Dir = filepath.Join(cfg.Dir, "etcd")
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs = tickMs, electionMs
	c.UnsafeNoFsync = s.tempDir != ""
	c.BcryptCost = minBcryptCost // users here are for tests, in which many clients authenticate on few cores
	c.EnableGRPCGateway = false  // a client of the server inside itself: more goroutines, and nobody here asks it
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(s.quiet(etcd.ZapLogger(cfg.Log)))
	c.GRPCAdditionalServerOptions = append(c.GRPCAdditionalServerOptions, s.streams.serverOption())
	return c
}

// Endpoint returns the URL for clients, http://127.0.0.1:PORT, with the port that is really
// listened on.
func (s *Server) Endpoint() string { return "http://" + s.addr }

// Close stops the server, waits until it is gone and removes a temporary folder. Clients see what
// they see when etcd dies: broken streams, then refused connections. It may be called more than
// once.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.streams.shut()
		s.server.Close()
		s.closeErr = s.removeTempDir()
	})
	return s.closeErr
}

func (s *Server) removeTempDir() error {
	if s.tempDir == "" {
		return nil
	}
	if err := os.RemoveAll(s.tempDir); err != nil {
		return fmt.Errorf("remove local etcd's temporary folder: %w", err)
	}
	return nil
}

func validateLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want host:port: %w", err)
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); ip == nil || !ip.IsLoopback() {
		return errors.New("want an IP address of loopback: the server asks nobody for a password")
	}
	return nil
}

// probeFree binds addr for a moment.
func probeFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// probeUnused asks for the lock on the database of a server before. etcd itself would wait for it
// without end.
func probeUnused(file string) error {
	if _, err := os.Stat(file); err != nil {
		return nil // none yet, or one that etcd will complain about
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockLimit})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return errors.New("the data folder is in use by another process")
	}
	if err != nil {
		return fmt.Errorf("open the data folder's database: %w", err)
	}
	return db.Close()
}
