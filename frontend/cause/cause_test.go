package cause

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// alike are workers with the same labels.
type alike struct {
	n, failing int
	labels     string // host=h7 rack=r3
	state      State  // of those that fail; NotReady, or else Unreachable
	ago        time.Duration
}

// workers returns them, each with an ID of its own.
func workers(all ...alike) (list []Worker) {
	for _, a := range all {
		for n := range a.n {
			w := Worker{ID: dynmesh.InstanceID(len(list) + 1), Labels: labels(a.labels), Since: noon.Add(-time.Hour)}
			if n < a.failing {
				w.State, w.Since = max(a.state, NotReady), noon.Add(-max(a.ago, time.Minute))
				if a.state == Well {
					w.State = Unreachable
				}
				if a.ago != 0 {
					w.Since = noon.Add(-a.ago)
				}
			}
			list = append(list, w)
		}
	}
	return list
}

func labels(text string) (list []Label) {
	for pair := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(pair, "=")
		list = append(list, Label{name, value})
	}
	return list
}

// each returns so many groups, whose labels have their number for %d.
func each(groups, n, failing int, labels string) (all []alike) {
	for g := range groups {
		all = append(all, alike{n: n, failing: failing, labels: strings.ReplaceAll(labels, "%d", fmt.Sprint(g))})
	}
	return all
}

// causes returns what workers that come all at once have in common, a line each.
func causes(list []Worker) (lines []string) {
	t := NewTable()
	for _, w := range list {
		t.Put(w)
	}
	t.Conclude(noon)
	for _, c := range t.Causes() {
		lines = append(lines, c.String())
	}
	return lines
}

// The specification: which label explains what fails, in which words.
func TestCauses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fleet []alike
		want  []string
	}{
		{"nobody", nil, nil},
		{"all well", []alike{{n: 8, labels: "host=h7"}, {n: 8, labels: "host=h8"}}, nil},

		// All or nearly all of them fail, and the rest does not.
		{"a host", []alike{{n: 8, failing: 8, labels: "host=h7"}, {n: 8, labels: "host=h8"}}, []string{"host h7: 8 of 8 unreachable"}},
		{"nearly all of a host", []alike{{n: 10, failing: 8, labels: "host=h7"}, {n: 8, labels: "host=h8"}}, []string{"host h7: 8 of 10 unreachable"}},
		{"too few of a host", []alike{{n: 10, failing: 7, labels: "host=h7"}, {n: 8, labels: "host=h8"}}, nil},
		{"one alone", []alike{{n: 1, failing: 1, labels: "host=h7"}, {n: 8, labels: "host=h8"}}, nil},
		{"two of three", []alike{{n: 2, failing: 2, labels: "host=h7"}, {n: 1, labels: "host=h8"}}, []string{"host h7: 2 of 2 unreachable"}},
		{"those who have the label, and others without it", []alike{{n: 3, failing: 3, labels: "gpu=H100"}, {n: 3}}, []string{"gpu H100: 3 of 3 unreachable"}},
		{"not ready", []alike{{n: 4, failing: 4, labels: "version=v2", state: NotReady}, {n: 4, labels: "version=v1"}}, []string{"version v2: 4 of 4 not ready"}},
		{"in two ways", []alike{{n: 3, failing: 3, labels: "host=h7", state: NotReady}, {n: 5, failing: 5, labels: "host=h7"}, {n: 4, labels: "host=h8"}},
			[]string{"host h7: 8 of 8 fail (5 unreachable, 3 not ready)"}},

		// The whole fleet, once.
		{"the fleet", []alike{{n: 8, failing: 8, labels: "host=h7 zone=a"}, {n: 8, failing: 8, labels: "host=h8 zone=a"}}, []string{"fleet: 16 of 16 unreachable"}},
		{"nearly the whole fleet", each(10, 10, 9, "host=h%d zone=a"), []string{"fleet: 90 of 100 unreachable"}},
		{"the fleet without labels", []alike{{n: 5, failing: 5}}, []string{"fleet: 5 of 5 unreachable"}},
		{"a fleet of one", []alike{{n: 1, failing: 1, labels: "host=h7"}}, nil},
		{"most of the fleet is one rack", []alike{{n: 90, failing: 90, labels: "rack=a"}, {n: 10, labels: "rack=b"}}, []string{"rack a: 90 of 90 unreachable"}},
		{"most of the fleet is one rack, nearly all", []alike{{n: 90, failing: 85, labels: "rack=a"}, {n: 10, labels: "rack=b"}}, []string{"rack a: 85 of 90 unreachable"}},
		{"one with another version works, which says nothing", []alike{{n: 99, failing: 80, labels: "version=v1"}, {n: 1, labels: "version=v2"}}, []string{"fleet: 80 of 100 unreachable"}},
		{"one with another version works, and all others fail", []alike{{n: 99, failing: 99, labels: "version=v1"}, {n: 1, labels: "version=v2"}}, []string{"version v1: 99 of 99 unreachable"}},

		// What all share explains nothing, and nothing explains what is spread evenly.
		{"a label that all share", []alike{{n: 4, failing: 4, labels: "zone=a host=h7"}, {n: 4, labels: "zone=a host=h8"}}, []string{"host h7: 4 of 4 unreachable"}},
		{"half of each host", each(4, 8, 4, "host=h%d"), nil},
		{"one of each host", each(20, 8, 1, "host=h%d"), nil},
		{"a host, while more than half of the rest fails", []alike{{n: 20, failing: 20, labels: "host=h7"}, {n: 20, failing: 11, labels: "host=h8"}}, nil},
		{"a host, while half of the rest fails", []alike{{n: 20, failing: 20, labels: "host=h7"}, {n: 20, failing: 10, labels: "host=h8"}}, []string{"host h7: 20 of 20 unreachable"}},
		{"hosts of two among many that fail here and there", slices.Concat(each(5, 2, 2, "host=a%d"), each(90, 2, 1, "host=b%d"), each(405, 2, 0, "host=c%d")), nil},
		{"a host of eight among many that fail here and there", slices.Concat(each(1, 8, 8, "host=a%d"), each(90, 2, 1, "host=b%d"), each(400, 2, 0, "host=c%d")),
			[]string{"host a0: 8 of 8 unreachable"}},

		// The best label is named, those of the same workers beside it.
		{"a host that is all of its rack", []alike{{n: 8, failing: 8, labels: "rack=r3 host=h7"}, {n: 8, labels: "rack=r4 host=h8"}},
			[]string{"host h7 (also rack r3): 8 of 8 unreachable"}},
		{"many labels of the same workers", []alike{{n: 2, failing: 2, labels: "z=1 node=n version=v host=h zone=b rack=r"}, {n: 2, labels: "host=o"}},
			[]string{"host h (also node n, rack r, zone b, 2 more labels): 2 of 2 unreachable"}},
		{"a rack of two hosts", slices.Concat(each(2, 5, 5, "rack=r3 host=h%d"), each(4, 5, 0, "rack=r4 host=g%d")), []string{"rack r3: 10 of 10 unreachable"}},
		{"a rack, but for one", []alike{{n: 5, failing: 5, labels: "rack=r3 host=h7"}, {n: 5, failing: 4, labels: "rack=r3 host=h8"}, {n: 9, labels: "rack=r4 host=h9"}},
			[]string{"rack r3: 9 of 10 unreachable"}},
		{"a host that is most of its rack", []alike{{n: 8, failing: 8, labels: "rack=r3 host=h7"}, {n: 1, labels: "rack=r3 host=h8"}, {n: 8, labels: "rack=r4 host=h9"}},
			[]string{"host h7: 8 of 8 unreachable"}},
		{"a host, and some more of its rack", []alike{{n: 5, failing: 5, labels: "rack=r3 host=h7"}, {n: 5, failing: 3, labels: "rack=r3 host=h8"}, {n: 9, labels: "rack=r4 host=h9"}},
			[]string{"host h7: 5 of 5 unreachable"}},
		{"a GPU across hosts", slices.Concat(each(6, 2, 2, "gpu=B200 host=h%d"), each(6, 2, 0, "gpu=H100 host=h%d")), []string{"gpu B200: 12 of 12 unreachable"}},
		{"a GPU that is all of some hosts", slices.Concat(each(6, 2, 2, "gpu=B200 host=b%d"), each(6, 2, 0, "gpu=H100 host=h%d")), []string{"gpu B200: 12 of 12 unreachable"}},

		// Several at once.
		{"two racks of three", slices.Concat(each(2, 4, 4, "rack=r%d"), []alike{{n: 4, labels: "rack=r9"}}), []string{"rack r0: 4 of 4 unreachable", "rack r1: 4 of 4 unreachable"}},
		{"three racks of four", slices.Concat(each(3, 4, 4, "rack=r%d"), []alike{{n: 4, labels: "rack=r9"}}),
			[]string{"rack r0: 4 of 4 unreachable", "rack r1: 4 of 4 unreachable", "rack r2: 4 of 4 unreachable"}},
		{"a host, and a version elsewhere", []alike{{n: 5, failing: 5, labels: "host=h7 version=v1"}, {n: 9, failing: 9, labels: "host=h8 version=v2", state: NotReady},
			{n: 9, failing: 9, labels: "host=h9 version=v2", state: NotReady}, {n: 30, labels: "host=h0 version=v1"}},
			[]string{"version v2: 18 of 18 not ready", "host h7: 5 of 5 unreachable"}},
		{"a model, and a rack with some of it", []alike{
			{n: 20, failing: 20, labels: "model=x rack=r0"}, {n: 5, failing: 5, labels: "model=x rack=r3"},
			{n: 5, failing: 5, labels: "model=y rack=r3"}, {n: 30, labels: "model=y rack=r0"}},
			[]string{"model x: 25 of 25 unreachable", "rack r3: 10 of 10 unreachable"}},
		{"a host, and one that fails for itself", []alike{{n: 4, failing: 4, labels: "host=h7"}, {n: 20, failing: 1, labels: "host=h8"}}, []string{"host h7: 4 of 4 unreachable"}},

		// It has lasted.
		{"a moment ago", []alike{{n: 8, failing: 8, labels: "host=h7", ago: Dwell - 1}, {n: 8, labels: "host=h8"}}, nil},
		{"for long enough", []alike{{n: 8, failing: 8, labels: "host=h7", ago: Dwell}, {n: 8, labels: "host=h8"}}, []string{"host h7: 8 of 8 unreachable"}},
		{"a rack is going down: not its first host", []alike{{n: 5, failing: 5, labels: "rack=r3 host=h7"}, {n: 5, failing: 5, labels: "rack=r3 host=h8", ago: time.Second}, {n: 9, labels: "rack=r4 host=h9"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := workers(tt.fleet...)
			if got := causes(list); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			if got := causes(list); !slices.Equal(got, tt.want) {
				t.Errorf("in another order: got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Since is when so many failed that the label explains it: one that failed long before does not
// make it older.
func TestSince(t *testing.T) {
	table := NewTable()
	for n := range dynmesh.InstanceID(20) {
		w := Worker{ID: n, Labels: labels("host=h8"), Since: noon.Add(-time.Hour)}
		if n < 10 {
			w.Labels, w.State, w.Since = labels("host=h7"), Unreachable, noon.Add(-time.Minute+time.Duration(n)*time.Second)
		}
		if n == 0 {
			w.Since = noon.Add(-100 * time.Hour)
		}
		table.Put(w)
	}
	table.Conclude(noon)
	if got := table.Causes(); len(got) != 1 || !got[0].Since.Equal(noon.Add(-53*time.Second)) {
		t.Errorf("got %+v, want since the eighth", got)
	}
}
