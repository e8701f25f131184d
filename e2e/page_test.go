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
// frontend, in a real browser, says so in the right words at the right place within 2 s of when
// that browser can know: when another tab of it hears the same on /events, and by no less than ten
// times what that tab takes to answer.
func pageShows(t *testing.T, w *world) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("left out: there is no chromium to look at the page with")
	}
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	// A worker that is killed is unreachable for as long as its lease lives, which is to be long
	// enough for a look on a busy machine.
	workers := w.startWorkersWith(e, 0, 8, map[string]string{"ETCD_LEASE_TTL": "60"}, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	p := openPage(t, program, frontends[0])
	p.shows("#headline", "8 ready of 8 registered")

	within := func(what string, who *worker, verdict string, show func()) {
		t.Helper()
		p.slowest = 0
		began := time.Now()
		show()
		took, heard := w.pace.Since(began), p.heard(began, who, verdict)
		limit := heard + max(2*time.Second, 10*p.slowest)
		told := fmt.Sprintf("%s: shown %v after /mesh, another tab heard it after %v and answered within %v", what, millis(took), millis(heard), millis(p.slowest))
		if took > limit {
			t.Errorf("%s; want it shown within %v", told, limit)
		} else {
			t.Log(told)
		}
	}
	unreachable := func(what string, victim *worker) {
		t.Helper()
		awaitVerdict(t, settled, frontends, "unreachable", victim)
		within(what, victim, "unreachable", func() {
			p.shows(".trouble.unreachable", fmt.Sprintf("%x", victim.id), "unreachable", "cannot reach it")
		})
	}
	w.crash(workers[0])
	unreachable("killed", workers[0])
	faults := []fault{frozen{workers[1]}}
	if _, docker := w.site.(*dockerSite); docker {
		faults = append(faults, cutOff{workers[2]})
	}
	for n, f := range faults {
		victim := workers[n+1]
		w.during(f, func() { unreachable(f.String(), victim) })
		awaitVerdict(t, settled, frontends, "ready", victim)
		within("after "+f.String(), victim, "ready", func() { p.shows(fmt.Sprintf(".cell.unverified[aria-label^=%q]", victim.name()+":"), victim.name()) }) // unverified, because canaries are off
	}
	// One that is stopped is not mourned: it drains while it still answers a request, and is gone.
	const tokens = 16 // 24 s, which end as soon as the page has shown it: a browser on a busy machine takes its time
	workers[3].turn(t, fmt.Sprintf(`{"tokens":%d,"token_delay":"1500ms"}`, tokens))
	answer := begin(t, workers[3])
	w.must("stop", workers[3].signal(syscall.SIGTERM))
	awaitVerdict(t, settled, frontends, "draining", workers[3])
	// Gossip alone knows it by now, and it has its name all the same.
	eventually(t, settled, "etcd's word of it is gone, as the targets for Prometheus tell", func() error {
		r, err := get(ask(), frontends[0].url("/sd/prometheus"))
		if err == nil && strings.Contains(string(r.body), workers[3].name()) {
			err = fmt.Errorf("%s", r.body)
		}
		return err
	})
	within("draining", workers[3], "draining", func() {
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
	within("stopped", workers[3], "", func() { p.gone(fmt.Sprintf("%x", workers[3].id)) })
}

// browsed is the page in a browser.
type browsed struct {
	t       *testing.T
	page    context.Context
	bare    context.Context // a tab that does nothing but listen: what it takes is the machine's
	slowest time.Duration   // longest time in which the bare tab has answered
}

// listen has the bare tab note when it first heard of an instance what it knows of it.
const listen = `
	window.heard = {};
	const note = (id, verdict) => { if (heard[id]?.verdict !== verdict) heard[id] = { verdict, at: Date.now() }; };
	const stream = new EventSource('/events');
	stream.addEventListener('snapshot', ({ data }) => JSON.parse(data).endpoints.forEach((e) => e.instances.forEach((i) => note(i.id, i.verdict))));
	stream.addEventListener('change', ({ data }) => {
		const { instances, gone } = JSON.parse(data);
		instances.forEach((i) => note(i.id, i.verdict));
		gone.forEach((i) => note(i.id, ''));
	});`

func openPage(t *testing.T, program string, f *frontend) *browsed {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // its sandbox wants rights that a container has not; it visits this page only
		chromedp.WSURLReadTimeout(settled),
	)
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	bare, closed := chromedp.NewContext(ctx)
	t.Cleanup(closed)
	if err := chromedp.Do(bare); err != nil { // which starts the browser: it ends with this context
		t.Fatal(err)
	}
	page, closed := chromedp.NewContext(bare)
	t.Cleanup(closed)
	if err := chromedp.Do(page, chromedp.EmulateViewport(1440, 900)); err != nil {
		t.Fatal(err)
	}
	p := &browsed{t: t, page: page, bare: bare}
	// Chromium drops what it loads when a network comes or goes, as those of the other scenarios do.
	for path, tab := range map[string]context.Context{"/": page, "/live": bare} {
		eventually(t, settled, "Chromium opens "+path, func() error {
			_, err := ran(tab, chromedp.Navigate(f.url(path)))
			return err
		})
	}
	if _, err := ran(bare, chromedp.Evaluate[bool](listen+" true")); err != nil {
		t.Fatal(err)
	}
	return p
}

// ran runs one action, with a bound.
func ran[T any](tab context.Context, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(tab, settled)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// looks evaluates an expression on the page: nothing for a moment, and an error, while the page
// loads itself again.
func looks[T any](p *browsed, expression string) (T, error) {
	began := time.Now()
	if _, err := ran(p.bare, chromedp.Evaluate[int]("0")); err != nil {
		var none T
		return none, err
	}
	p.slowest = max(p.slowest, time.Since(began))
	return ran(p.page, chromedp.Evaluate[T](expression))
}

// heard returns how long after a moment the bare tab heard of a verdict, or, with an empty one,
// that the worker is gone; 0 if it has not: then it is slower than the page.
func (p *browsed) heard(after time.Time, who *worker, verdict string) time.Duration {
	p.t.Helper()
	at, err := ran(p.bare, chromedp.Evaluate[int64](fmt.Sprintf(`(({ verdict, at }) => verdict === %q ? at : 0)(heard['%x'] ?? {})`, verdict, who.id)))
	if err != nil {
		p.t.Fatal(err)
	}
	return max(0, time.UnixMilli(at).Sub(after))
}

// read returns what can be read at a selector.
func (p *browsed) read(selector string) (string, error) {
	return looks[string](p, fmt.Sprintf(
		`[...document.querySelectorAll(%q)].map((e) => e.innerText.replace(/\s+/g, ' ')).join('\n')`, selector))
}

// shows waits until all words can be read at a selector.
func (p *browsed) shows(selector string, words ...string) {
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
func (p *browsed) gone(id string) {
	p.t.Helper()
	eventually(p.t, settled, "the page does not show "+id, func() error {
		there, err := looks[bool](p, fmt.Sprintf(
			`[...document.querySelectorAll('.cell')].some((c) => c.instance.id === %q)`, id))
		if err == nil && there {
			err = fmt.Errorf("it is there")
		}
		return err
	})
}
