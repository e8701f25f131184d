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

// strike presses keys on the bar, and again where nothing comes of it within seconds: a page that
// loads itself again has heard none.
func strike(p *tab, what, becomes string, keys ...string) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		if focused, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](`(document.getElementById('past-at').focus(), true)`)); err != nil || !focused {
			return false
		}
		for _, key := range keys {
			if chromedp.Do(p.ctx, chromedp.KeyEvent(key)) != nil {
				return false
			}
		}
		for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(10 * time.Millisecond) {
			if is, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](becomes)); err == nil && is {
				return true
			}
		}
		return false
	})
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
	eventually(t, "a bar that begins with the history", func() bool { return time.Since(before) > 1500*time.Millisecond }) // it is a second long at least
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
	p.becomes("nothing is said of now", visible("#past-banner")+` === ''`)
	const said, at = `document.getElementById('past-at').getAttribute('aria-valuetext')`, `Number(document.getElementById('past-at').value)`
	p.becomes("the moment is now", said+` === 'now'`)

	// The keyboard: as far back as there is anything, a step on, and back to now.
	shown := func(words string) string { return fmt.Sprintf(`(%s).includes(%q)`, visible("#past-banner"), words) }
	strike(p, "the beginning", shown(", not now.")+` && `+shown("Back to now")+` && document.title.startsWith('(past) ') && `+at+` === 0`, kb.Home)
	strike(p, "a step on", shown(", not now.")+` && `+said+` !== 'now' && `+at+` === 1`, kb.Home, kb.ArrowRight)
	strike(p, "no banner", `document.getElementById('past-banner').hidden`, kb.End)
	p.waits("#headline", "11 ready of 12 registered")

	p.becomes("another moment", `(location.hash = '`+moment(before)+`', true)`)
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
	strike(p, "now", fmt.Sprintf(`document.getElementById('detail').hidden && (%s).includes('10 ready of 12 registered')`, visible("#headline")),
		kb.Escape, kb.Escape) // the instance, then the past

	// A moment that has come since the bar was asked for is at its end.
	p.becomes("a moment ago", `(location.hash = '`+moment(time.Now())+`', true)`)
	p.waits("#past-banner", "As of ", ", not now.")
	p.becomes("the end of the bar", at+` > 120`)
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
	eventually(t, "it is asked after the page has", func() bool {
		none, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](`fetch('history/counts').then(({status}) => status === 404)`, chromedp.EvalAwaitPromise))
		return err == nil && none
	})
	if eval[bool](p, `document.getElementById('past') !== null`) {
		t.Error("there is a bar of a past that nobody keeps")
	}
	p.quiet()
	p = open(t, b, m.url()+moment(time.Now().Add(-time.Hour)), desk())
	p.waits("#past-banner", "this frontend keeps no history: DYN_HISTORY_DIR")
	p.becomes("no bar", `document.getElementById('past').hidden`)
	p.quiet()
}
