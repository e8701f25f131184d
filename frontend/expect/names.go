package expect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

const (
	maxNamed = 8  // instances that a reason names
	maxPlain = 80 // characters of a text from elsewhere
)

// ref is an instance as a reason names it.
type ref struct {
	endpoint string // empty where only one endpoint is meant
	id       dynmesh.InstanceID
}

func (r ref) String() string {
	if r.endpoint == "" {
		return r.id.String()
	}
	return plain.Text(strings.TrimPrefix(r.endpoint, scheme), maxPlain) + "/" + r.id.String()
}

func (r ref) compare(o ref) int {
	return cmp.Or(strings.Compare(r.endpoint, o.endpoint), cmp.Compare(r.id, o.id))
}

// some are instances of which the same is said: how many, and the first few. A fleet of thousands may fail at once, and is
// counted anew at each change.
type some struct {
	why   string
	n     int
	first []ref // in order, at most maxNamed
}

func (s *some) add(r ref) {
	s.n++
	if len(s.first) == maxNamed {
		if r.compare(s.first[maxNamed-1]) > 0 {
			return
		}
		s.first = s.first[:maxNamed-1]
	}
	i, _ := slices.BinarySearchFunc(s.first, r, ref.compare)
	s.first = slices.Insert(s.first, i, r)
}

// names names the first few, and says how many more there are.
func (s *some) names() string {
	var names []string
	for _, r := range s.first {
		names = append(names, r.String())
	}
	text := strings.Join(names, ", ")
	if more := s.n - len(s.first); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
