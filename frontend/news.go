package frontend

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
)

const (
	newsWindow = 250 * time.Millisecond // what changes within it is one event, if it is much
	newsLines  = 10                     // up to so many are told one by one
	newsNames  = 20                     // instances that one line names
)

// news gathers changes of verdicts for the log, so that the loss of a rack is not a thousand lines.
type news struct {
	began time.Time // of the window; zero: nothing has happened
	items []item
}

// item is one change of a verdict.
type item struct {
	endpoint string
	id       dynmesh.InstanceID
	from, to dynmesh.VerdictState // from is empty for an instance that is new
	reason   string
}

func (n *news) add(i item, now time.Time) {
	if len(n.items) == 0 {
		n.began = now
	}
	n.items = append(n.items, i)
}

// due returns when the news are to be told; false if there are none.
func (n *news) due() (time.Time, bool) {
	return n.began.Add(newsWindow), len(n.items) > 0
}

// tell logs the news: a line each, or where they are many, a line for all that went the same way.
func (n *news) tell(log *logrus.Entry) {
	if len(n.items) <= newsLines {
		for _, i := range n.items {
			log.WithField("endpoint", i.endpoint).WithField("instance", i.id.String()).Logf(i.level(), "Instance is %s%s: %s", i.to, i.was(), i.reason)
		}
		n.items = forget(n.items)
		return
	}
	type way struct{ from, to dynmesh.VerdictState }
	ways := map[way][]item{}
	var order []way
	for _, i := range n.items {
		w := way{i.from, i.to}
		if ways[w] == nil {
			order = append(order, w)
		}
		ways[w] = append(ways[w], i)
	}
	for _, w := range order {
		tellMany(log, ways[w])
	}
	n.items = forget(n.items)
}

func tellMany(log *logrus.Entry, items []item) {
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.id, b.id)) })
	first := items[0]
	if len(items) == 1 {
		log.WithField("endpoint", first.endpoint).WithField("instance", first.id.String()).Logf(first.level(), "Instance is %s%s: %s", first.to, first.was(), first.reason)
		return
	}
	var names, endpoints []string
	seen := map[string]bool{}
	for _, i := range items {
		if len(names) < newsNames {
			names = append(names, i.id.String())
		}
		if !seen[i.endpoint] {
			seen[i.endpoint] = true
			if len(endpoints) < newsNames {
				endpoints = append(endpoints, i.endpoint)
			}
		}
	}
	log.WithField("endpoint", listed(endpoints, len(seen))).WithField("instance", listed(names, len(items))).
		Logf(first.level(), "%d instances are %s%s, the first because: %s", len(items), first.to, first.was(), first.reason)
}

// listed joins names, and says how many there are besides.
func listed(names []string, all int) string {
	s := strings.Join(names, " ")
	if more := all - len(names); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func (i item) was() string {
	if i.from == "" {
		return ""
	}
	return " (was " + string(i.from) + ")"
}

func (i item) level() logrus.Level {
	if i.to == dynmesh.Unreachable || i.to == dynmesh.NotReady {
		return logrus.WarnLevel
	}
	return logrus.InfoLevel
}
