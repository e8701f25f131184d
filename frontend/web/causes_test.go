package web_test

import "testing"

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
