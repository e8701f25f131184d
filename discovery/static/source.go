package static

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/filewatch"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// A file that is being written is empty at first, which would be a fleet that is gone: what is read
// counts once it has been the same for a moment.
const (
	settled     = 100 * time.Millisecond
	rereadEvery = 5 * time.Second // should the kernel give no notice
)

// Config configures a Source.
type Config struct {
	Path string        // of the file; required
	Log  *logrus.Entry // default: nothing is logged
}

// Source lists what a file says: it is a discovery.Source. Make it with New.
type Source struct {
	path   string
	log    *logrus.Entry
	ledger *discovery.Ledger
	ran    atomic.Bool
	reads  atomic.Int64

	read     reading   // the last one
	since    time.Time // when it was new
	taken    reading   // the one that counts
	good     bool      // it can be used
	lastRead time.Time
}

// reading is what one look at the file found.
type reading struct {
	data  []byte
	fault string // why there is no data; empty: there is
}

func (r reading) equal(o reading) bool { return r.fault == o.fault && bytes.Equal(r.data, o.data) }

// New reads the file once, and refuses one that cannot be used. Its error is a
// *dynmesh.ConfigError.
func New(cfg Config) (*Source, error) {
	if cfg.Path == "" {
		return nil, dynmesh.NewConfigError("static", "Path", nil, "the path of a YAML file")
	}
	data, err := readFile(cfg.Path)
	if err == nil {
		_, err = parse(data)
		if at, ok := errors.AsType[*lineError](err); ok {
			err = fmt.Errorf("%s:%d: %s", cfg.Path, at.line, at.detail)
		}
	}
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "static", Field: "Path", Err: err}
	}
	return &Source{
		path: cfg.Path, log: logging.OrDiscard(cfg.Log), ledger: discovery.NewLedger(time.Now()),
		read: reading{fault: "not read yet"}, taken: reading{fault: "not read yet"},
	}, nil
}

// Status returns what metrics show.
func (s *Source) Status() discovery.Status {
	status := s.ledger.Status()
	status.Reads = s.reads.Load()
	return status
}

// Run follows the file until ctx ends, and then returns nil: see discovery.Source.
func (s *Source) Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error {
	if s.ran.Swap(true) {
		return errors.New("static source: Run called twice")
	}
	filewatch.Run(ctx, []string{filepath.Dir(s.path)}, func() time.Duration {
		steps, again := s.look(time.Now())
		for _, step := range steps {
			if step.Changed {
				up(step.Update)
			}
		}
		return again
	})
	return nil
}

// look reads the file, and returns what follows and when to look again.
func (s *Source) look(now time.Time) (steps []discovery.Step, again time.Duration) {
	read := reading{}
	data, err := readFile(s.path)
	if err != nil {
		read.fault = err.Error()
	}
	read.data = data
	before := s.read
	s.read = read
	if read.equal(s.taken) {
		if s.good {
			s.lastRead = now
		}
		return nil, rereadEvery
	}
	if !read.equal(before) {
		s.since = now
	}
	if left := settled - now.Sub(s.since); left > 0 {
		return nil, left
	}
	s.taken = read
	return s.take(read, now), rereadEvery
}

// take takes in what counts now.
func (s *Source) take(read reading, now time.Time) []discovery.Step {
	s.reads.Add(1)
	s.good = false
	entries := discovery.NewEntries()
	name, fault := s.path, read.fault
	if fault == "" {
		all, err := parse(read.data)
		at, bad := errors.AsType[*lineError](err)
		if !bad {
			s.good, s.lastRead = true, now
			entries.Instances = all
			return []discovery.Step{s.ledger.Replace(entries, now)}
		}
		name, fault = fmt.Sprintf("%s:%d", s.path, at.line), at.detail
	}
	s.log.WithField("key", discovery.ShownKey(name)).WithField("err", fault).
		Warn("The list of endpoints cannot be used: what it said before stands until it is mended")
	entries.Reject(name, discovery.Rejectf(dynmesh.RejectFile, "%s", fault))
	away := s.ledger.Away(s.lastRead)
	if s.lastRead.IsZero() {
		return nil // nothing is known yet
	}
	return []discovery.Step{away, s.ledger.Change(entries, discovery.Gone{Mended: s.ledger.Rejected()})}
}

// readFile reads what may be read as a whole.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFileSize)
	}
	return data, err
}
