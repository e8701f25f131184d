package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Anybody may write into the registry.
func hostile(t *testing.T, b browser) {
	m := newMesh(t)
	markup := `<img src=x onerror=alert(1)><b>&amp;"'`
	long := strings.Repeat("very-long-", 90) // as long as a key may be, nearly
	bidi := "abc\u202egpj.exe"
	put := func(component, id, transport string) clientv3.Op {
		return clientv3.OpPut(fmt.Sprintf("v1/instances/d/%s/g/%s", component, id), fmt.Sprintf(
			`{"component":%q,"endpoint":"g","namespace":"d","instance_id":%d,"transport":%s}`, component, number(t, id), transport))
	}
	host := `{"role":"worker","host":"</script><script>alert(2)</script>\u0000\u001b[31m","pid":1,"version":"{{7*7}}","started_at":"2026-01-01T00:00:00Z",` +
		`"system_url":"javascript:alert(3)","labels":{"<i>":"` + strings.Repeat("é", 5000) + `"}}`
	_, err := m.kv.Txn(t.Context()).Then(
		put(markup, "20000000000001", `{"http":"javascript:alert(4)"}`),
		put(long, "20000000000002", `{"http":"`+long+`"}`),
		put("abc", "ffffffffffffffff", `{"x":{"y":"<svg onload=alert(5)>"}}`),
		put(bidi, "20000000000003", `{"http":"http://127.0.0.1:1"}`),
		clientv3.OpPut("v1/dynmesh/members/20000000000001", host),
		clientv3.OpPut("v1/instances/<script>alert(6)", "{"),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
	// What markup would have left in the document, seen even if it is gone at once.
	p := open(t, b, m.url(), window{width: 1000, height: 800, first: `
		window.alert = (what) => { document.documentElement.dataset.alerted = what; };
		new MutationObserver(() => {
			if (document.querySelector('body img, body script, body svg, body i:not(.share i), body b b')) document.documentElement.dataset.markup = 'yes';
		}).observe(document, {subtree: true, childList: true});`})
	p.waits("#endpoints", "d."+markup+".g", "(904 characters)", "d.abc.g")
	p.waits("#notes", "<script>alert(6)", "gpj.exe") // what does not show is in no name
	if eval[bool](p, `document.body.textContent.includes('\u202e')`) {
		t.Error("the page has a character that turns text round")
	}
	p.waits("#fleet", "</script><script>alert(2)</script> [31m")
	for _, id := range []string{"20000000000001", "20000000000002", "ffffffffffffffff"} {
		eval[bool](p, fmt.Sprintf(`[...document.querySelectorAll('.cell')].find((c) => c.instance.id === %q).click() ?? true`, id))
		p.waits("#detail", id)
		if got := eval[bool](p, `location.hash.includes('at=`+id+`')`); !got {
			t.Errorf("%s is not in the address", id)
		}
		fits(p)
	}
	// The whole name is there for who wants it, and the address with it leads back, by a request
	// that is small.
	eval[bool](p, `[...document.querySelectorAll('.cell')].find((c) => c.instance.id === '20000000000002').click() ?? true`)
	p.waits("#detail", "d."+long+".g")
	p.do(chromedp.Reload())
	p.waits("#detail", "d."+long+".g")
	if eval[string](p, `(document.documentElement.dataset.alerted ?? '') + (document.documentElement.dataset.markup ?? '')`) != "" {
		t.Error("something of a name has become markup or script")
	}
	// The policy holds: it refuses what the page never does.
	if got := eval[string](p, `(() => { try { document.body.innerHTML = '<p>'; return 'taken'; } catch (e) { return e.name; } })()`); got != "TypeError" {
		t.Errorf("innerHTML: got %s, want TypeError", got)
	}
}

func number(t *testing.T, hex string) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(hex, "%x", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// fits checks that nothing sticks out to the right, where one would have to scroll to.
func fits(p *tab) {
	p.t.Helper()
	if over := eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		p.t.Errorf("the page is %d px wider than its window", over)
	}
}
