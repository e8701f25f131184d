package web_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// remembering is a mesh whose frontend keeps a history.
func remembering(t *testing.T) *mesh {
	t.Helper()
	m := newMesh(t)
	m.stop()
	m.kept = t.TempDir()
	m.start()
	return m
}

// moment is the part of an address that shows a moment of the past.
func moment(at time.Time) string {
	return "#" + url.Values{"when": {at.UTC().Format("2006-01-02T15:04:05.000Z")}}.Encode()
}

// press clicks on what is at a selector, as soon as it is there, wherever it is: the bar may still
// come and move it.
func press(p *tab, selector string) {
	p.t.Helper()
	p.becomes(selector, fmt.Sprintf(`(document.querySelector(%q).click(), true)`, selector))
}

// One goes back to before a worker was lost, sees that everybody was well and that this is not now,
// and comes back to what has happened meanwhile.
func whatWas(t *testing.T, b browser) {
	m := remembering(t)
	m.add(12, endpoints()...)
	m.settled()
	eventually(t, "all is known of all", func() bool { // that they are ready, the registry said first; their hosts come by another watch
		all := m.get("mesh")
		return strings.Count(all, `"registered":true`) == 12 && strings.Count(all, `"verified":true`) == 12 && strings.Count(all, `"host":"gpu-`) == 12
	})
	before := time.Now()
	eventually(t, "a later moment", func() bool { return time.Since(before) > 5*time.Millisecond }) // than the history's unit
	m.workers[3].killed()
	eventually(t, "it is unreachable", func() bool { return m.workers[3].verdict() == "unreachable" })
	eventually(t, "it is written", func() bool {
		return strings.Contains(m.get("history"), `"to":"unreachable"`) && strings.Contains(m.get("mesh?at=0s"), `"verdict":"unreachable"`)
	})
	p := open(t, b, m.url(), desk())
	defer p.quiet()
	p.waits("#past", "now", "1 day")
	p.becomes("changes on the bar", `document.querySelector('#past-bar path:last-child').getAttribute('d').length > 10`)
	p.waits("#troubles-title", "Not well: 1")
	if got := p.text("#past-banner"); got != "" {
		t.Errorf("got %q, want nothing said of now", got)
	}
	said := func() string {
		return eval[string](p, `document.getElementById('past-at').getAttribute('aria-valuetext')`)
	}
	if got := said(); got != "now" {
		t.Errorf("got the moment %q, want now", got)
	}

	// The keyboard: as far back as there is anything, a step on, and back to now.
	at := func() int { return eval[int](p, `Number(document.getElementById('past-at').value)`) }
	eval[bool](p, `document.getElementById('past-at').focus() ?? true`)
	p.do(chromedp.KeyEvent(kb.Home))
	p.waits("#past-banner", "As of ", "Z", ", not now.", "Back to now")
	if got := eval[string](p, "document.title"); !strings.HasPrefix(got, "(past) ") || at() != 0 {
		t.Errorf("got the title %q at step %d", got, at())
	}
	p.do(chromedp.KeyEvent(kb.ArrowRight))
	eventually(t, "a step on", func() bool {
		return at() == 1 && strings.Contains(p.text("#past-banner"), "not now") && said() != "now"
	})
	p.do(chromedp.KeyEvent(kb.End))
	p.becomes("no banner", `document.getElementById('past-banner').hidden`)
	p.waits("#headline", "11 ready of 12 registered")

	eval[bool](p, `(location.hash = '`+moment(before)+`', true)`)
	p.waits("#past-banner", "As of ", ", not now.")
	p.waits("#headline", "12 ready of 12 registered")
	p.waits("#troubles-title", "Not well: none")
	press(p, cell(m.workers[3]))
	p.waits("#detail", "gpu-003", "ready", "canary: pass")
	then := eval[string](p, `location.href`)

	// What happens meanwhile is not seen, and is there when one comes back.
	m.workers[5].frozen()
	eventually(t, "another one fails", func() bool { return m.workers[5].verdict() == "notready" })
	other := open(t, b, then, desk())
	other.waits("#past-banner", "not now.")
	other.waits("#headline", "12 ready of 12 registered")
	other.waits("#detail", "gpu-003", "ready")
	other.quiet()
	p.waits("#headline", "12 ready of 12 registered")
	press(p, "#past-banner .link")
	p.waits("#headline", "10 ready of 12 registered")
	p.waits("#detail", "unreachable")
	p.becomes("no banner", `document.getElementById('past-banner').hidden`)
	p.do(chromedp.NavigateBack())
	p.waits("#headline", "12 ready of 12 registered")
	p.do(chromedp.KeyEvent(kb.Escape)) // the instance
	p.becomes("no instance", `document.getElementById('detail').hidden`)
	p.do(chromedp.KeyEvent(kb.Escape)) // the past
	p.waits("#headline", "10 ready of 12 registered")
	p.quiet()
}

// Of a moment that nobody watched there is no picture, least of all one of another moment.
func whatNobodyKnows(t *testing.T, b browser) {
	m := remembering(t)
	m.add(3, endpoints()...)
	m.settled()
	eventually(t, "it is written", func() bool { return strings.Contains(m.get("mesh?at=0s"), `"verdict":"ready"`) })
	p := open(t, b, m.url()+moment(time.Now().Add(-time.Hour)), desk())
	p.waits("#past-banner", "nothing is known of ", "the history begins at")
	if got := p.text("#main"); got != "" {
		t.Errorf("got %q, want no picture", got)
	}
	press(p, "#past-banner .link")
	p.waits("#headline", "3 ready of 3 registered")
	fits(p)
	p.quiet()
}

// A frontend without a history has a page without a past, and says so to who comes with an address
// that has one.
func noHistory(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(3, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "3 ready of 3 registered")
	eval[bool](p, `fetch('history/counts').then(({status}) => status === 404)`) // after the page has asked
	if eval[bool](p, `document.getElementById('past') !== null`) {
		t.Error("there is a bar of a past that nobody keeps")
	}
	p.quiet()
	p = open(t, b, m.url()+moment(time.Now().Add(-time.Hour)), desk())
	p.waits("#past-banner", "this frontend keeps no history: DYN_HISTORY_DIR")
	p.becomes("no bar", `document.getElementById('past').hidden`)
	p.quiet()
}
