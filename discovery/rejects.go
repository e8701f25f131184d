package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// RejectError says why an entry of the registry cannot be listed.
type RejectError struct {
	Reason dynmesh.RejectReason
	Detail string // for people: one line of at most dynmesh.MaxRejectedDetail bytes
}

func (e *RejectError) Error() string { return e.Detail }

// Rejectf returns a RejectError with a detail that is fit for people, whatever went into it.
func Rejectf(reason dynmesh.RejectReason, format string, args ...any) error {
	return &RejectError{Reason: reason, Detail: text.Line(fmt.Sprintf(format, args...), dynmesh.MaxRejectedDetail)}
}

// RejectSet remembers which entries of a bucket are left out. It is safe for concurrent use.
type RejectSet struct {
	mu    sync.Mutex
	left  map[string]RejectError // by key
	total map[dynmesh.RejectReason]int
}

// NewRejectSet returns an empty set.
func NewRejectSet() *RejectSet {
	return &RejectSet{left: make(map[string]RejectError), total: make(map[dynmesh.RejectReason]int)}
}

// Add says whether that changes what is shown of the entry, and whether it was not known to be bad
// for this reason, which is worth a line in the log.
func (s *RejectSet) Add(key string, why RejectError) (changed, newReason bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.left[key]
	s.left[key] = why
	if newReason = !known || before.Reason != why.Reason; newReason {
		s.total[why.Reason]++
	}
	return before != why, newReason
}

// Remove says whether the entry was left out.
func (s *RejectSet) Remove(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.left[key]
	delete(s.left, key)
	return known
}

// Has says whether an entry is left out.
func (s *RejectSet) Has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.left[key]
	return known
}

// names returns those of the entries that are left out.
func (s *RejectSet) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.left))
}

// Counts returns how many entries are left out now, and how many ever were, by reason.
func (s *RejectSet) Counts() (left, total map[dynmesh.RejectReason]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left = make(map[dynmesh.RejectReason]int)
	for _, why := range s.left {
		left[why.Reason]++
	}
	return left, maps.Clone(s.total)
}

// ListRejects puts what several buckets leave out into one list.
func ListRejects(sets ...*RejectSet) *dynmesh.Rejects {
	var list dynmesh.Rejects
	var entries []dynmesh.Rejected
	for _, s := range sets {
		s.mu.Lock()
		list.Total += len(s.left)
		for key, why := range s.left {
			entries = append(entries, dynmesh.Rejected{Key: key, Reason: why.Reason, Detail: why.Detail})
			if len(entries) == 10*dynmesh.MaxRejects { // so that a sea of junk is not sorted as a whole
				entries = smallest(entries)
			}
		}
		s.mu.Unlock()
	}
	list.Entries = smallest(entries)
	for i := range list.Entries {
		list.Entries[i].Key = ShownKey(list.Entries[i].Key)
	}
	return &list
}

// smallest sorts entries by key and keeps the first dynmesh.MaxRejects.
func smallest(entries []dynmesh.Rejected) []dynmesh.Rejected {
	slices.SortFunc(entries, func(a, b dynmesh.Rejected) int { return cmp.Compare(a.Key, b.Key) })
	return entries[:min(len(entries), dynmesh.MaxRejects)]
}

// ShownKey makes a key of a registry fit for people.
func ShownKey(key string) string { return text.Line(key, dynmesh.MaxRejectedKey) }
