package access

import (
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/text"
)

// lookInterval is how long what was read counts as what the files have.
const lookInterval = time.Second

// maxError is how much of an error the log has, in bytes.
const maxError = 300

// files is something made of files, and made again when they are others. Whoever uses it looks.
type files[T any] struct {
	what  string // for the log
	paths []string
	load  func(path string) ([]byte, error)
	parse func(contents [][]byte) (T, error)
	log   *logrus.Entry

	mu     sync.Mutex
	looked time.Time
	seen   []os.FileInfo
	value  T
}

// open reads the files for the first time.
func open[T any](what string, log *logrus.Entry, load func(string) ([]byte, error), parse func([][]byte) (T, error), paths ...string) (*files[T], error) {
	f := &files[T]{what: what, paths: paths, load: load, parse: parse, log: log, looked: time.Now()}
	f.seen = f.stat() // before they are read: what changes between is noticed
	var err error
	f.value, err = f.read()
	return f, err
}

// current is what the files have, or had when they last could be used.
func (f *files[T]) current() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < lookInterval && !now.Before(f.looked) {
		return f.value
	}
	f.looked = now
	seen := f.stat()
	if same(f.seen, seen) {
		return f.value
	}
	f.seen = seen
	value, err := f.read()
	if err != nil {
		f.log.WithField("err", text.Error(err, maxError)).Errorf("Cannot read the %s again: it stays as it was", f.what)
		return f.value
	}
	f.value = value
	f.log.Infof("The %s has changed, and was read again", f.what)
	return f.value
}

func (f *files[T]) stat() []os.FileInfo {
	infos := make([]os.FileInfo, len(f.paths))
	for i, path := range f.paths {
		infos[i], _ = os.Stat(path) // nil: it is not there, which reading it says
	}
	return infos
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		switch {
		case a[i] == nil || b[i] == nil:
			if a[i] != b[i] {
				return false
			}
		case !os.SameFile(a[i], b[i]), a[i].Mode() != b[i].Mode(), a[i].Size() != b[i].Size(), !a[i].ModTime().Equal(b[i].ModTime()):
			return false
		}
	}
	return true
}

func (f *files[T]) read() (value T, err error) {
	contents := make([][]byte, len(f.paths))
	for i, path := range f.paths {
		if contents[i], err = f.load(path); err != nil {
			return value, err
		}
	}
	return f.parse(contents)
}
