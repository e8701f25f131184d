package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pageShows: workers are killed, stand still, are cut off and are stopped, and the page of a
// frontend, in a real browser, says so in the right words at the right place within 2 s of /mesh.
func pageShows(t *testing.T, w *world) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("left out: there is no chromium to look at the page with")
	}
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	workers := w.startWorkers(e, 0, 8, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	p := openPage(t, program, frontends[0].url("/"))
	p.shows("#headline", "8 ready of 8 registered")

	within := func(what string, show func()) {
		t.Helper()
		began := time.Now()
		show()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: shown %v after /mesh, want within 2 s", what, took)
		} else {
			t.Logf("%s: shown %v after /mesh", what, millis(took))
		}
	}
	unreachable := func(what string, victim *worker) {
		t.Helper()
		awaitVerdict(t, settled, frontends, "unreachable", victim)
		within(what, func() {
			p.shows(".trouble.unreachable", fmt.Sprintf("%x", victim.id), "unreachable", "cannot reach it")
		})
	}
	w.must("kill", workers[0].signal(syscall.SIGKILL))
	unreachable("killed", workers[0])
	faults := []fault{frozen{workers[1]}}
	if _, docker := w.site.(*dockerSite); docker {
		faults = append(faults, cutOff{workers[2]})
	}
	for n, f := range faults {
		victim := workers[n+1]
		w.during(f, func() { unreachable(f.String(), victim) })
		awaitVerdict(t, settled, frontends, "ready", victim)
		within("after "+f.String(), func() { p.shows(fmt.Sprintf(".cell.unverified[aria-label^=%q]", victim.name()+":"), victim.name()) }) // unverified, because canaries are off
	}
	// One that is stopped is not mourned: it drains while it still answers a request, and is gone.
	const tokens = 16 // 24 s, which end as soon as the page has shown it: a browser on a busy machine takes its time
	workers[3].turn(t, fmt.Sprintf(`{"tokens":%d,"token_delay":"1500ms"}`, tokens))
	answer := begin(t, workers[3])
	w.must("stop", workers[3].signal(syscall.SIGTERM))
	awaitVerdict(t, settled, frontends, "draining", workers[3])
	within("draining", func() {
		p.shows(".trouble.draining", fmt.Sprintf("%x", workers[3].id), "draining", "that it shuts down")
		p.shows(fmt.Sprintf(".cell.draining[aria-label^=%q]", workers[3].name()+":"), workers[3].name())
	})
	workers[3].turn(t, fmt.Sprintf(`{"tokens":%d}`, tokens))
	if got, err := answer(); err != nil || got != tokens {
		t.Errorf("its last request: got %d tokens, %v; want all of %d", got, err, tokens)
	}
	eventually(t, settled, "it is gone from /mesh", func() error {
		m, err := frontends[0].mesh(ask())
		if err == nil && len(m.of(workers[3])) > 0 {
			err = fmt.Errorf("%v is there", m.of(workers[3]))
		}
		return err
	})
	within("stopped", func() { p.gone(fmt.Sprintf("%x", workers[3].id)) })
}

// browsed is the page in a browser.
type browsed struct {
	t   *testing.T
	ctx context.Context
}

func openPage(t *testing.T, program, url string) browsed {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // its sandbox wants rights that a container has not; it visits this page only
		chromedp.WSURLReadTimeout(settled),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(end)
	ctx, closed := chromedp.NewContext(ctx)
	t.Cleanup(closed)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1440, 900)); err != nil {
		t.Fatal(err)
	}
	// Chromium drops what it loads when a network comes or goes, as those of the other scenarios do.
	eventually(t, settled, "Chromium opens "+url, func() error { return chromedp.Do(ctx, chromedp.Navigate(url)) })
	return browsed{t, ctx}
}

// read returns what can be read at a selector: nothing for a moment, and an error, while the page
// loads itself again.
func (p browsed) read(selector string) (string, error) {
	return chromedp.Run(p.ctx, chromedp.Evaluate[string](fmt.Sprintf(
		`[...document.querySelectorAll(%q)].map((e) => e.innerText.replace(/\s+/g, ' ')).join('\n')`, selector)))
}

// shows waits until all words can be read at a selector.
func (p browsed) shows(selector string, words ...string) {
	p.t.Helper()
	eventually(p.t, settled, "the page shows "+strings.Join(words, ", "), func() error {
		text, err := p.read(selector)
		for _, word := range words {
			if !strings.Contains(text, word) {
				page, _ := p.read("body")
				return errors.Join(err, fmt.Errorf("%s: %q, want %q in it; the page: %q", selector, text, word, page))
			}
		}
		return err
	})
}

// gone waits until nothing on the page is about an instance.
func (p browsed) gone(id string) {
	p.t.Helper()
	eventually(p.t, settled, "the page does not show "+id, func() error {
		there, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](fmt.Sprintf(
			`[...document.querySelectorAll('.cell')].some((c) => c.instance.id === %q)`, id)))
		if err == nil && there {
			err = fmt.Errorf("it is there")
		}
		return err
	})
}
