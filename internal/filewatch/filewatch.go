package filewatch

import (
	"context"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is for what writes several files, or one in several steps, to finish.
const settle = 5 * time.Millisecond

// Run calls look until ctx ends: at once, soon after each change in one of the folders, and when
// the time that look returned has passed. Folders need not be there. What changes only a file's
// times is no change.
//
// Where the kernel gives no notices (its limit on watches is reached), only the times count.
func Run(ctx context.Context, folders []string, look func() (again time.Duration)) {
	w := watcher{folders: folders, watched: make([]os.FileInfo, len(folders))}
	var changes <-chan fsnotify.Event
	var overflows <-chan error
	if notices, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = notices.Close() }()
		w.notices, changes, overflows = notices, notices.Events, notices.Errors
	}
	next := time.NewTimer(0)
	defer next.Stop()
	due := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-changes:
			if change.Has(fsnotify.Create) || change.Has(fsnotify.Write) || change.Has(fsnotify.Remove) || change.Has(fsnotify.Rename) {
				if soon := time.Now().Add(settle); soon.Before(due) {
					due = soon
					next.Reset(settle)
				}
			}
		case <-overflows: //nolint:errcheck // the queue ran over, or the like: what was lost may be anything
			due = time.Now()
			next.Reset(0)
		case <-next.C:
			w.follow() // before the look: what changes between them is noticed
			again := look()
			due = time.Now().Add(again)
			next.Reset(again)
		}
	}
}

// watcher has the kernel watch folders that may come, go and be replaced.
type watcher struct {
	folders []string
	watched []os.FileInfo // of each folder, what is watched now; nil: nothing
	notices *fsnotify.Watcher
}

func (w *watcher) follow() {
	if w.notices == nil {
		return
	}
	for i, folder := range w.folders {
		now, err := os.Stat(folder)
		if err == nil && w.watched[i] != nil && os.SameFile(now, w.watched[i]) {
			continue
		}
		if w.watched[i] != nil {
			_ = w.notices.Remove(folder) // it has ended already where the folder is gone
			w.watched[i] = nil
		}
		if err == nil && w.notices.Add(folder) == nil {
			w.watched[i] = now
		}
	}
}
