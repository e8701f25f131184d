package frontend

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

const (
	transitionWindow = 250 * time.Millisecond // what changes within it is one event, if it is much
	transitionLines  = 10                     // up to so many have a line each
	transitionNames  = 20                     // instances that one line names
)

// transitionLog gathers changes of verdicts, and remarks, for the log, so that the loss of a rack,
// or what fails for all at once, is not a thousand lines. That an instance appeared and is ready,
// or is gone, has no line.
type transitionLog struct {
	log   *logrus.Entry
	began time.Time // of the window
	lines []transitionLine
}

// transitionLine is what one line says of a transition. It is small: a rack may be lost at once.
type transitionLine struct {
	key dynmesh.InstanceKey
	way
	reason string // empty: the remark has ended

	auxiliary bool // see fleet.Instance.Auxiliary
	more      int  // endpoints of its worker that went the same way
}

// way is what lines that are alike tell of.
type way struct {
	from, to dynmesh.VerdictState // from is empty for an instance that is new
	remark   string               // its kind, of one that began or ended; empty: it is the verdict that changed
	over     bool                 // the remark has ended
}

func (l *transitionLog) add(all []fleet.Transition, now time.Time) {
	for _, t := range all {
		if t.To == "" || t.From == "" && (t.To == dynmesh.Ready || t.To == dynmesh.NotReady && t.Evidence.Unspoken) {
			continue
		}
		if len(l.lines) == 0 {
			l.began = now
		}
		line := transitionLine{key: t.Key, way: way{from: t.From, to: t.To}, reason: t.Reasons[0], auxiliary: t.Auxiliary}
		if t.Remark != nil {
			line.remark, line.reason, line.over = fleet.RemarkKind(t.Remark.Measure), t.Remark.Text, t.Remark.Text == ""
		}
		l.lines = append(l.lines, line)
	}
}

// due returns when the lines are to be written; false if there are none.
func (l *transitionLog) due() (time.Time, bool) {
	return l.began.Add(transitionWindow), len(l.lines) > 0
}

// fold has one line tell of a worker whose endpoints all went the same way: it died once. An
// endpoint that went it again has another line.
func fold(lines []transitionLine) []transitionLine {
	type ofOne struct {
		key dynmesh.InstanceKey
		way
	}
	type death struct {
		id dynmesh.InstanceID
		way
		before int // times that the endpoint has gone that way before
	}
	gone := map[ofOne]int{}
	place := map[death]int{}
	folded := lines[:0:0]
	for _, line := range lines {
		w := ofOne{line.key, line.way}
		d := death{line.key.ID, line.way, gone[w]}
		gone[w]++
		n, known := place[d]
		if !known {
			place[d] = len(folded)
			folded = append(folded, line)
			continue
		}
		more := folded[n].more + 1
		if folded[n].auxiliary && !line.auxiliary { // what people know the worker by
			folded[n] = line
		}
		folded[n].more = more
	}
	return folded
}

// flush writes a line each, or where they are many, a line for all that went the same way.
func (l *transitionLog) flush() {
	l.lines = fold(l.lines)
	if len(l.lines) <= transitionLines {
		for _, line := range l.lines {
			line.write(l.log)
		}
	} else {
		for _, alike := range alike(l.lines) {
			writeMany(l.log, alike)
		}
	}
	l.lines = nil
}

// alike groups lines by their way, in the order in which each was first gone.
func alike(lines []transitionLine) [][]transitionLine {
	place := map[way]int{}
	var groups [][]transitionLine
	for _, line := range lines {
		n, known := place[line.way]
		if !known {
			n = len(groups)
			place[line.way] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], line)
	}
	return groups
}

func (l transitionLine) endpoint() string {
	return fleet.NameOf(l.key.Endpoint)
}

func (l transitionLine) write(log *logrus.Entry) {
	log = log.WithField("endpoint", l.endpoint()).WithField("instance", l.key.ID.String())
	if l.more > 0 {
		log = log.WithField("endpoints", l.more+1)
	}
	switch {
	case l.over:
		log.Infof("Instance is remarked on no longer: %s", l.remark)
	case l.remark != "":
		log.Warnf("Instance is %s, with a remark: %s", l.to, l.reason)
	default:
		log.Logf(l.level(), "Instance is %s%s: %s", l.to, l.was(), l.reason)
	}
}

func writeMany(log *logrus.Entry, lines []transitionLine) {
	if len(lines) == 1 {
		lines[0].write(log)
		return
	}
	slices.SortStableFunc(lines, func(a, b transitionLine) int {
		return cmp.Or(cmp.Compare(a.endpoint(), b.endpoint()), cmp.Compare(a.key.ID, b.key.ID))
	})
	var names, endpoints []string
	seen := map[string]bool{}
	for _, l := range lines {
		if len(names) < transitionNames {
			names = append(names, l.key.ID.String())
		}
		if name := l.endpoint(); !seen[name] {
			seen[name] = true
			if len(endpoints) < transitionNames {
				endpoints = append(endpoints, name)
			}
		}
	}
	first := lines[0]
	log = log.WithField("endpoint", atMost(endpoints, len(seen))).WithField("instance", atMost(names, len(lines)))
	switch {
	case first.over:
		log.Infof("%d instances are remarked on no longer: %s", len(lines), first.remark)
	case first.remark != "":
		log.Warnf("%d instances are %s, with a remark, the first: %s", len(lines), first.to, first.reason)
	default:
		log.Logf(first.level(), "%d instances are %s%s, the first because: %s", len(lines), first.to, first.was(), first.reason)
	}
}

// atMost joins names, and says how many there are besides.
func atMost(names []string, all int) string {
	s := strings.Join(names, " ")
	if more := all - len(names); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func (l transitionLine) was() string {
	if l.from == "" {
		return ""
	}
	return " (was " + string(l.from) + ")"
}

func (l transitionLine) level() logrus.Level {
	if l.to == dynmesh.Unreachable || l.to == dynmesh.NotReady {
		return logrus.WarnLevel
	}
	return logrus.InfoLevel
}
