package file

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
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

// The folders of Dynamo's buckets below the root.
const (
	instancesFolder = "v1/instances"
	cardsFolder     = "v1/mdc"
)

// lookEvery is how often the folder is read though the kernel gives no notice.
const lookEvery = time.Second

// DefaultRoot returns where Dynamo keeps the tree if it is not told.
func DefaultRoot() string { return filepath.Join(os.TempDir(), "dynamo_store_kv") }

// Config configures a Source. The zero value follows Dynamo's own default.
type Config struct {
	Root string        // folder of the tree; default DefaultRoot
	Log  *logrus.Entry // default: nothing is logged
}

// Source follows what is registered in a folder: it is a discovery.Source. Make it with New.
type Source struct {
	root   string
	log    *logrus.Entry
	ledger *discovery.Ledger
	ran    atomic.Bool
	reads  atomic.Int64

	instances bucket[dynmesh.Instance]
	cards     bucket[dynmesh.ModelCard]
	lastRead  time.Time // when the folder was last read; zero: never
	away      bool
}

// New checks the configuration. A folder that is not there yet is waited for. Its error is a
// *dynmesh.ConfigError.
func New(cfg Config) (*Source, error) {
	if cfg.Root == "" {
		cfg.Root = DefaultRoot()
	}
	if info, err := os.Stat(cfg.Root); err == nil && !info.IsDir() {
		return nil, dynmesh.NewConfigError("file", "Root", cfg.Root, "a folder")
	}
	return &Source{
		root: cfg.Root, log: logging.OrDiscard(cfg.Log), ledger: discovery.NewLedger(time.Now()),
		instances: bucket[dynmesh.Instance]{folder: instancesFolder, limit: discovery.MaxValueSize + 1, decode: discovery.DecodeInstanceAt},
		cards:     bucket[dynmesh.ModelCard]{folder: cardsFolder, limit: discovery.MaxCardSize + 1, decode: discovery.DecodeCardAt},
	}, nil
}

// Status returns what metrics show.
func (s *Source) Status() discovery.Status {
	status := s.ledger.Status()
	status.Reads = s.reads.Load()
	return status
}

// Run follows the folder until ctx ends, and then returns nil: see discovery.Source.
func (s *Source) Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error {
	if s.ran.Swap(true) {
		return errors.New("file source: Run called twice")
	}
	folders := []string{s.root, filepath.Join(s.root, "v1"), filepath.Join(s.root, instancesFolder), filepath.Join(s.root, cardsFolder)}
	filewatch.Run(ctx, folders, func() time.Duration {
		instances, err := readFolder(s.root, s.instances.folder, s.instances.limit)
		cards, cardsErr := readFolder(s.root, s.cards.folder, s.cards.limit)
		step, again := s.take(instances, cards, cmp.Or(err, cardsErr), time.Now())
		if step.Changed {
			up(step.Update)
		}
		return again
	})
	return nil
}

// take takes in one look at the folders, and returns what follows and when to look again.
func (s *Source) take(instances, cards []seen, err error, now time.Time) (step discovery.Step, again time.Duration) {
	if err != nil {
		if !s.away {
			s.away = true
			s.log.WithField("err", err).Warn("The folder of Dynamo's registry cannot be read, trying again until it can")
		}
		return s.ledger.Away(s.lastRead), lookEvery
	}
	if s.away {
		s.away = false
		s.instances.renew(now)
		s.cards.renew(now)
		s.log.Info("The folder of Dynamo's registry can be read")
	}
	s.lastRead = now
	s.reads.Add(1)
	entries := discovery.NewEntries()
	listed, next := s.instances.take(instances, entries, now)
	for _, i := range listed {
		entries.Instances[i.InstanceKey] = i
	}
	described, nextCard := s.cards.take(cards, entries, now)
	for _, c := range described {
		entries.Cards[c.CardKey] = c
	}
	step = s.ledger.Replace(entries, now)
	for _, r := range step.Fresh {
		s.log.WithField("key", r.Key).WithField("err", r.Detail).
			Warn("Registry entry is neither a Dynamo instance nor a model card, and is left out until it changes")
	}
	again = lookEvery
	for _, at := range []time.Time{next, nextCard} {
		if !at.IsZero() {
			again = min(again, max(0, at.Sub(now)))
		}
	}
	return step, again
}

// readFolder returns the files of a folder below the root. There are none where the root is there,
// and the folder is not yet.
func readFolder(root, below string, limit int64) ([]seen, error) {
	folder := filepath.Join(root, below)
	listed, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(root); err != nil {
			return nil, err
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []seen
	for _, d := range listed {
		if !d.Type().IsRegular() {
			continue
		}
		f, err := readFile(filepath.Join(folder, d.Name()), limit)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if f.denied = errors.Is(err, fs.ErrPermission); err != nil && !f.denied {
			return nil, err
		}
		f.name = d.Name()
		files = append(files, f)
	}
	return files, nil
}

// readFile reads one file, up to limit.
func readFile(path string, limit int64) (seen, error) {
	info, err := os.Stat(path)
	if err != nil {
		return seen{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return seen{modified: info.ModTime()}, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, limit))
	return seen{modified: info.ModTime(), content: string(content)}, err
}
