package file

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// leaseTTL is how long Dynamo keeps an entry that nobody touches.
const leaseTTL = 10 * time.Second

// halfWritten is how long a content that is no value may be one that is being written: Dynamo
// empties a file before it writes it.
const halfWritten = 50 * time.Millisecond

// bucket is what is known of the files of a folder. It is pure: what is read and the time come from
// the caller.
type bucket[V any] struct {
	folder  string // below the root
	limit   int64  // bytes of a value, and one more
	decode  func(path string, value []byte) (V, error)
	entries map[string]*entry[V] // by file name
}

// entry is one file.
type entry[V any] struct {
	content  string
	denied   bool
	since    time.Time // when the content was first seen
	modified time.Time
	touched  time.Time // by our own clock: when modified was last seen to change
	value    V
	err      error // why there is none
	before   *entry[V]
}

// seen is one file as it is now.
type seen struct {
	name     string
	modified time.Time
	content  string
	denied   bool // it may not be read
}

// renew gives all owners the whole time again: nobody could touch a folder that was away.
func (b *bucket[V]) renew(now time.Time) {
	for _, e := range b.entries {
		e.touched = now
	}
}

// take takes in all files. It adds what cannot be listed to rejects, and returns what is listed,
// and when that may change though no file does.
func (b *bucket[V]) take(files []seen, rejects discovery.Entries, now time.Time) (all []V, next time.Time) {
	soonest := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	kept := make(map[string]*entry[V], len(files))
	for _, f := range files {
		e := b.update(b.entries[f.name], f, now)
		kept[f.name] = e
		end := e.leaseEnd()
		if !end.After(now) {
			continue
		}
		soonest(end)
		shown := e
		if e.err != nil && now.Sub(e.since) < halfWritten {
			soonest(e.since.Add(halfWritten))
			if shown = e.before; shown == nil {
				continue
			}
		}
		if shown.err != nil {
			rejects.Reject(entryName(b.folder, f.name), shown.err)
		} else {
			all = append(all, shown.value)
		}
	}
	b.entries = kept
	return all, next
}

// update returns the entry of a file as it is now; e is nil for one that is new.
func (b *bucket[V]) update(e *entry[V], f seen, now time.Time) *entry[V] {
	switch {
	case e == nil:
		n := &entry[V]{content: f.content, denied: f.denied, since: now, modified: f.modified}
		if f.modified.After(now) { // by another clock
			n.touched = now
		}
		n.value, n.err = b.read(f)
		return n
	case e.content != f.content || e.denied != f.denied:
		n := &entry[V]{content: f.content, denied: f.denied, since: now, modified: f.modified, touched: now}
		if n.value, n.err = b.read(f); n.err != nil && e.err == nil {
			n.before = e
		} else if n.err != nil {
			n.before = e.before
		}
		return n
	case !e.modified.Equal(f.modified):
		e.modified, e.touched = f.modified, now
	}
	if e.before != nil && now.Sub(e.since) >= halfWritten {
		e.before = nil
	}
	return e
}

// leaseEnd returns when the entry ends unless it is touched.
func (e *entry[V]) leaseEnd() time.Time {
	if e.touched.IsZero() {
		return e.modified.Add(leaseTTL)
	}
	return e.touched.Add(leaseTTL)
}

// read reads a file. Its error is a *discovery.RejectError.
func (b *bucket[V]) read(f seen) (none V, err error) {
	path, err := url.PathUnescape(f.name)
	if err != nil || escape(path) != f.name {
		return none, discovery.Rejectf(dynmesh.RejectKey, "the file's name is not escaped as Dynamo does it")
	}
	if f.denied {
		return none, discovery.Rejectf(dynmesh.RejectFile, "this process may not read the file")
	}
	return b.decode(path, []byte(f.content))
}

// entryName returns the key of a file for people.
func entryName(folder, name string) string {
	if path, err := url.PathUnescape(name); err == nil {
		name = path
	}
	return folder + "/" + name
}

// escape returns a key as the name of its file: each byte but letters and digits is %XX.
func escape(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
