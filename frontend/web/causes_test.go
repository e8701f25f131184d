package web_test

import (
	"testing"

	"github.com/dynmesh/dynmesh"
)

// Of one that is ready and fails in part, it is said beside those that are not well, and ends with
// it.
func remarkedOn(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(3, endpoints()[0])
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#troubles-note", "Everyone is well")
	w := m.workers[1]
	says := func(sample string) {
		w.says(m.observed(w.ID, dynmesh.Report{
			Subject: dynmesh.Subject{ID: w.ID, Endpoint: w.Endpoint, Measure: dynmesh.MeasureFailures}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: sample,
		}))
	}
	says("3 of 8 within 30s, the last: status 500")
	p.waits("#troubles-title", "Not well: 1")
	p.waits(".trouble.ready", "fails in part", "fails: real requests, 3 of 8")
	p.waits("#headline", "3 ready (1 fails in part) of 3 registered")
	p.waits(".endpoint", "1 fails in part")
	says("")
	p.waits("#troubles-note", "Everyone is well")
	p.waits("#headline", "3 ready of 3 registered")
	p.waits(".endpoint", "all well")
	p.quiet()
}

// Of a worker that fails in part at two endpoints, each otherwise, each is a row.
func remarkedOnAtTwo(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(2, endpoints()[0])
	w, other := m.workers[0], *m.workers[0]
	other.Endpoint.Name = "load"
	if _, err := m.kv.Txn(t.Context()).Then(other.puts()...).Commit(); err != nil {
		t.Fatal(err)
	}
	w.says(other.canary(dynmesh.Pass, ""))
	for of, sample := range map[dynmesh.Endpoint]string{w.Endpoint: "3 of 8 within 30s, the last: status 500", other.Endpoint: "5 of 9 within 30s, the last: status 502"} {
		w.says(m.observed(w.ID, dynmesh.Report{
			Subject: dynmesh.Subject{ID: w.ID, Endpoint: of, Measure: dynmesh.MeasureFailures}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: sample,
		}))
	}
	p := open(t, b, m.url(), desk())
	p.waits("#grid", "dynamo.backend.load")
	p.waits("#troubles-title", "Not well: 2")
	p.waits("#trouble-list", "3 of 8", "5 of 9")
	p.quiet()
}

// A zone dies: what its workers have in common stands above them, and goes when they are back; each
// of them says it.
func zoneDies(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(9, endpoints()[0])
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "9 ready")
	for _, n := range []int{1, 4, 7} {
		m.workers[n].killed()
	}
	p.waits(".troubles li:first-child.cause", "3 of 3 unreachable", "for")
	p.waits("#troubles-title", "Not well: 3")
	p.becomes("its workers under it", `document.querySelectorAll(".cause ~ li .trouble.unreachable").length === 3`)
	p.becomes("one of them is chosen", `(document.querySelector(".trouble.unreachable").click(), true)`)
	p.waits("#detail .reasons", "It fails together with others: zone", "3 of 3 unreachable")
	m.vouch()
	p.becomes("no cause is left", `document.querySelector(".cause") === null`)
	p.quiet()
}
