package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func address(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(12, endpoints()...)
	m.settled()
	m.workers[5].killed()
	p := open(t, b, m.url(), desk())
	p.waits(".trouble.unreachable", "gpu-005")
	p.do(chromedp.SendKeys(chromedp.CSS("#filter"), "zone=b -gpu-004"))
	p.waits("#fleet-note", "3 of 12 shown")
	p.do(chromedp.Click(chromedp.CSS("#zoom button:nth-child(2)")), chromedp.Click(chromedp.CSS(cell(m.workers[7]))))
	p.waits("#detail h2", "gpu-007")
	shared := eval[string](p, `location.href`)

	other := open(t, b, shared, desk())
	other.waits("#fleet-note", "3 of 12 shown")
	other.waits("#detail h2", "gpu-007")
	other.waits("#detail", "ready", "canary: pass in 12 ms", "by gpu-008")
	if got := eval[string](other, `document.getElementById('filter').value + ' ' + document.querySelector('.grid').className`); got != "zone=b -gpu-004 grid medium" {
		t.Errorf("got %q", got)
	}
	other.waits("#troubles-note", "1 more is not well outside this filter")

	p.do(chromedp.NavigateBack())
	eventually(t, "no instance", func() bool { return p.text("#detail") == "" })
	p.do(chromedp.SendKeys(chromedp.CSS("#filter"), kb.Escape))
	eventually(t, "all instances", func() bool { return eval[int](p, `document.querySelectorAll('.cell:not([hidden])').length`) == 12 })
	p.do(chromedp.Click(chromedp.CSS(".kind.unreachable")))
	p.waits("#fleet-note", "1 of 12 shown")
	p.do(chromedp.Click(chromedp.CSS(".kind.unreachable")), chromedp.Click(chromedp.CSS("#endpoints li:nth-child(2) button")))
	p.waits("#fleet-note", "4 of 12 shown")
	p.quiet()
	other.quiet()
}

func keys(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(60, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "60 ready")
	focused := func() string {
		return eval[string](p, `document.activeElement.getAttribute('aria-label') ?? document.activeElement.id`)
	}
	if got := eval[int](p, `document.querySelectorAll('.cell[tabindex="0"]').length`); got != 1 {
		t.Errorf("got %d cells in the order of Tab, want 1", got)
	}
	p.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter)) // "Skip to the fleet" is what comes first
	if got := focused(); got != "gpu-000: ready" {
		t.Fatalf("got %q", got)
	}
	p.do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowLeft))
	if got := focused(); got != "gpu-003: ready" {
		t.Errorf("got %q", got)
	}
	p.do(chromedp.KeyEvent(kb.ArrowDown))
	if got := focused(); got != "gpu-002: ready" && !strings.HasPrefix(got, "gpu-0") {
		t.Errorf("got %q", got)
	}
	below := focused()
	p.do(chromedp.KeyEvent(kb.ArrowUp))
	if got := focused(); got != "gpu-003: ready" {
		t.Errorf("got %q after %q", got, below)
	}
	p.do(chromedp.KeyEvent(kb.End))
	last := focused()
	p.do(chromedp.KeyEvent(kb.Enter))
	p.waits("#detail h2", strings.TrimSuffix(last, ": ready"))
	eventually(t, "the focus on the instance", func() bool { return focused() == "detail-title" })
	p.do(chromedp.KeyEvent(kb.Escape))
	eventually(t, "the focus back", func() bool { return focused() == last })
	p.do(chromedp.KeyEvent("/"))
	if got := focused(); got != "filter" {
		t.Errorf("got %q", got)
	}
	p.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("gpu-01")) // the key that led here may have been written, as no keyboard would
	p.waits("#fleet-note", "10 of 60 shown")
	p.quiet()
}

// What does not fit is below, never beside.
func phone(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(30, many(3)...)
	m.settled()
	m.workers[5].killed()
	p := open(t, b, m.url(), window{width: 360, height: 740, touch: true})
	p.waits(".trouble.unreachable", "gpu-005")
	fits(p)
	small := eval[int](p, `[...document.querySelectorAll('button, .cell, input')].filter((e) => e.checkVisibility() && Math.min(e.offsetWidth, e.offsetHeight) < 24).length`)
	if small > 0 {
		t.Errorf("%d things are too small for a finger", small)
	}
	p.do(chromedp.Click(chromedp.CSS(".trouble")))
	p.waits("#detail", "gpu-005", "unreachable", "Evidence", "History")
	if p.text("#main") != "" {
		t.Error("the fleet is still there beside the instance")
	}
	fits(p)
	p.do(chromedp.Click(chromedp.CSS(".close")))
	p.waits("#main", "Fleet")
	p.quiet()
}
