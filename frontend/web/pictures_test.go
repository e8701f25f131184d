package web_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
)

// TestPictures takes the pictures of the documentation, when asked (make pictures): into the folder
// that DYNMESH_PICTURES names.
func TestPictures(t *testing.T) {
	folder := os.Getenv("DYNMESH_PICTURES")
	if folder == "" {
		t.Skip("left out: DYNMESH_PICTURES names no folder")
	}
	b := startBrowser(t)
	wide, phone := window{width: 1440, height: 900}, window{width: 390, height: 844, touch: true}
	dark := wide
	dark.dark = true
	picture := func(name, url string, w window) {
		t.Helper()
		p := open(t, b, url, w)
		p.waits("#source-page", "live")
		p.waits("#main, #detail", "dyn")
		p.take(filepath.Join(folder, name))
		p.quiet()
	}

	small := newMesh(t, "dyn://dynamo.backend.generate>=4", "dyn://dynamo.prefill.generate>=6", "dyn://dynamo.embed.encode>=3")
	small.add(14, endpoints()...)
	small.settled()
	small.troubled()
	picture("page.png", small.url(), wide)
	picture("page-instance.png", small.url()+look(small.workers[3]), dark)
	picture("page-phone.png", small.url(), phone)
	lost := open(t, b, small.url(), wide)
	lost.waits("#headline", "11 ready")
	small.stop()
	lost.waits("#banner", "This picture is 3 s old")
	lost.take(filepath.Join(folder, "page-lost.png"))

	large := newMesh(t)
	large.add(1000, many(8)...)
	large.settled()
	flap(large, true)
	large.workers[17].killed()
	large.workers[640].drained()
	eventually(t, "all found", func() bool { return large.workers[640].verdict() == "draining" })
	picture("page-1000.png", large.url(), dark)

	none := newMesh(t)
	picture("page-empty.png", none.url(), wide)
}

// take writes what the tab shows to a file, as PNG.
func (p *tab) take(file string) {
	p.t.Helper()
	eval[bool](p, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
	if err := os.WriteFile(file, call(p, page.CaptureScreenshot, page.CaptureScreenshotParams{}).Data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// troubled has something happen to some of the workers.
func (m *mesh) troubled() {
	m.t.Helper()
	verdict := func(n int, want string) {
		m.t.Helper()
		eventually(m.t, want, func() bool { return m.workers[n].verdict() == want })
	}
	for range 3 {
		m.workers[9].frozen()
		verdict(9, "notready")
		m.workers[9].recovered()
		verdict(9, "ready")
	}
	m.workers[3].killed()
	m.workers[6].frozen()
	m.workers[7].drained()
	verdict(3, "unreachable")
	verdict(6, "notready")
	verdict(7, "draining")
}
