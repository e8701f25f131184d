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
	p.waits("#headline", "3 ready")
	says("")
	p.waits("#troubles-note", "Everyone is well")
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
