package discovery

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
)

// rejects remembers which entries of a bucket are left out. It is safe for concurrent use.
type rejects struct {
	what    string // should be there
	mu      sync.Mutex
	current map[string]RejectError // by etcd key
	total   map[dynmesh.RejectReason]int
}

func newRejects(what string) *rejects {
	return &rejects{what: what, current: make(map[string]RejectError), total: make(map[dynmesh.RejectReason]int)}
}

// add says whether the entry was not yet known to be bad in this way, and whether it was not even for this reason.
func (r *rejects) add(key string, why RejectError) (changed, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.current[key]
	r.current[key] = why
	if news = !known || before.Reason != why.Reason; news {
		r.total[why.Reason]++
	}
	return before != why, news
}

// remove says whether the entry was left out.
func (r *rejects) remove(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.current[key]
	delete(r.current, key)
	return known
}

// counts returns how many entries are left out now, and how many ever were, by reason.
func (r *rejects) counts() (current, total map[dynmesh.RejectReason]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current = make(map[dynmesh.RejectReason]int)
	for _, why := range r.current {
		current[why.Reason]++
	}
	return current, maps.Clone(r.total)
}

// showRejects puts what several buckets leave out into one list.
func showRejects(buckets ...*rejects) *dynmesh.Rejects {
	var shown dynmesh.Rejects
	var entries []dynmesh.Rejected
	for _, r := range buckets {
		r.mu.Lock()
		shown.Total += len(r.current)
		for key, why := range r.current {
			entries = append(entries, dynmesh.Rejected{Key: key, Reason: why.Reason, Detail: why.Detail})
			if len(entries) == 10*dynmesh.MaxRejects { // now and then, so that a sea of junk is not sorted as a whole
				entries = first(entries)
			}
		}
		r.mu.Unlock()
	}
	shown.Entries = first(entries)
	for i := range shown.Entries {
		shown.Entries[i].Key = cutKey(shown.Entries[i].Key)
	}
	return &shown
}

// first sorts entries and keeps the first MaxRejects.
func first(entries []dynmesh.Rejected) []dynmesh.Rejected {
	slices.SortFunc(entries, func(a, b dynmesh.Rejected) int { return cmp.Compare(a.Key, b.Key) })
	return entries[:min(len(entries), dynmesh.MaxRejects)]
}

// cutKey makes a key fit for people.
func cutKey(key string) string { return oneLine(key, dynmesh.MaxRejectedKey) }

// oneLine makes text from the registry fit for people: valid UTF-8 of at most max bytes, where each run of white space and of
// characters that do not show is one space.
func oneLine(s string, max int) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*max)], "\uFFFD") // a text that is too long costs no more than a line of it
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsGraphic(r) }), " ")
	if len(s) <= max {
		return s
	}
	const more = "…"
	n := max - len(more)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
