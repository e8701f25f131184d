package web_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// browser is a running Chromium.
type browser struct{ ctx context.Context }

// startBrowser starts Chromium for the test and all its subtests, and ends it with the test.
func startBrowser(t *testing.T) browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		if os.Getenv("DYNMESH_BROWSER") == "require" {
			t.Fatal("there is no chromium, and DYNMESH_BROWSER=require")
		}
		t.Skip("left out: there is no chromium to look at the page with")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // its sandbox wants rights that a container has not; it visits this page only
		chromedp.WSURLReadTimeout(patience),
	)
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return browser{ctx}
}

// tab is a window on the page.
type tab struct {
	t        testing.TB
	ctx      context.Context
	end      func()      // closes it before the test ends
	troubles chan string // what the console says that it should not
}

// window says how a tab looks at the page.
type window struct {
	width, height int64
	dark, touch   bool
	first         string // a script that runs before those of the page
}

// open shows what is at url, in a window of its own.
func open(t testing.TB, b browser, url string, w window) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx, end: end, troubles: make(chan string, 64)}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	size := chromedp.EmulateViewport(w.width, w.height)
	if w.touch {
		size = chromedp.EmulateViewport(w.width, w.height, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do(size)
	call(p, log.Enable, cdp.Empty{})
	call(p, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	if w.dark {
		call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
	}
	if w.first != "" {
		call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: w.first})
	}
	call(p, page.BringToFront, cdp.Empty{}) // what nobody sees gets no frames
	p.do(chromedp.Navigate(url))
	return p
}

// hear keeps what the browser complains of.
func (p *tab) hear(event any) {
	trouble := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		trouble = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			trouble += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork { // a frontend that is away
			trouble = e.Entry.Text
		}
	case *page.EventJavascriptDialogOpening:
		trouble = "a dialog: " + e.Message
	}
	if trouble == "" {
		return
	}
	select {
	case p.troubles <- trouble:
	default:
	}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// call sends a command of the browser's protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	out, err := chromedp.Call(p.ctx, command, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// eval returns what a JavaScript expression is, or the promise that it is.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	out, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// visible is an expression of what can be read at a selector, all that match it, a line each.
func visible(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%q)].filter((e) => e.checkVisibility()).map((e) => e.innerText.replace(/\s+/g, ' ')).join('\n')`, selector)
}

// text is what can be read at a selector.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, visible(selector))
}

// waits until all words are in the text at a selector. The page may load itself again meanwhile,
// and then has no answer for a moment.
func (p *tab) waits(selector string, words ...string) {
	p.t.Helper()
	pace, began := testkit.Paced(p.t), time.Now()
	defer pace.Stop()
	for ; ; time.Sleep(10 * time.Millisecond) {
		last, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](visible(selector)))
		missing := ""
		for _, w := range words {
			if !strings.Contains(last, w) {
				missing = w
			}
		}
		if err == nil && missing == "" {
			return
		}
		if pace.Since(began) > patience {
			p.t.Fatalf("%s: got %q, %v, want %q in it", selector, last, err, missing)
		}
	}
}

// becomes waits until an expression is true, and is as patient as waits with a page that loads
// itself again.
func (p *tab) becomes(what, expression string) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		is, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](expression))
		return err == nil && is
	})
}

// quiet fails when the console has said anything: an exception, or something that the policy
// refused.
func (p *tab) quiet() {
	p.t.Helper()
	for {
		select {
		case trouble := <-p.troubles:
			p.t.Errorf("the browser says: %s", trouble)
		default:
			return
		}
	}
}
