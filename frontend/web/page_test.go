package web_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// desk is a window as people have it.
func desk() window { return window{width: 1440, height: 900} }

// The page in a real browser, on a real frontend and a real etcd.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, browser)
	}{
		{"what happens to workers", happenings},
		{"a thousand instances", thousand},
		{"the frontend goes away and comes back", frontendAway},
		{"the frontend and etcd go away, and the frontend comes back", bothAway},
		{"a cable is pulled", cablePulled},
		{"files of the page that do not arrive", filesLost},
		{"files of the page, and more, that do not arrive", filesLostWithMore},
		{"hostile names", hostile},
		{"etcd away", etcdAway},
		{"etcd never there", etcdNever},
		{"nothing registered yet", nothing},
		{"what is expected and not there", expected},
		{"endpoints without a model", withoutModel},
		{"a worker that dies at two endpoints", twice},
		{"what failures have in common", zoneDies},
		{"a remark on one that is ready", remarkedOn},
		{"a remark at each of two endpoints", remarkedOnAtTwo},
		{"the look is in the address", address},
		{"what routers are told", outputs},
		{"what routers would be told", dryRun},
		{"keys", keys},
		{"a phone", phone},
		{"what was", whatWas},
		{"what was, and nobody knows", whatNobodyKnows},
		{"no history", noHistory},
	} {
		t.Run(scenario.name, func(t *testing.T) { scenario.run(t, b) })
	}
}

// cell is the selector of a worker's cell.
func cell(w *worker) string { return fmt.Sprintf(`.cell[aria-label^="%s:"]`, w.host) }

func happenings(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(12, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "12 ready of 12 registered")
	p.waits("#troubles", "Not well: none", "Everyone is well.")
	ready, pace := 12, testkit.Paced(t)
	for _, c := range []struct {
		name    string
		happens func(*worker)
		verdict string
		word    string
		why     string
	}{
		{"killed", (*worker).killed, "unreachable", "unreachable", "(refused)"},
		{"frozen", (*worker).frozen, "notready", "not ready", "timeout: no answer within 3s"},
		{"cut off", (*worker).cutOff, "unreachable", "unreachable", "(timeout)"},
		{"drained", (*worker).drained, "draining", "draining", "that it shuts down"},
	} {
		w := m.workers[12-ready]
		c.happens(w)
		eventually(t, c.verdict, func() bool { return w.verdict() == c.verdict })
		known := time.Now()
		row := fmt.Sprintf(`.trouble.%s:has(.name)`, c.verdict)
		p.waits(row, w.host, w.ID.String(), c.word, c.why)
		p.waits(cell(w)+"."+c.verdict, c.word)
		ready--
		p.waits("#headline", fmt.Sprintf("%d ready of 12 registered", ready))
		if took := pace.Since(known); took > 2*time.Second {
			t.Errorf("%s: the page showed it %v after /mesh did, want within 2 s", c.name, took)
		} else {
			t.Logf("%s: %v after /mesh", c.name, took)
		}
	}
	// The worst come first, and of those the newest.
	rows := strings.Split(p.text(".trouble .name"), "\n")
	if got, want := strings.Join(rows, " "), "gpu-002 gpu-000 gpu-001 gpu-003"; got != want {
		t.Errorf("got the order %q, want %q", got, want)
	}
	if got := eval[string](p, "document.title"); got != "4 not well · dynmesh" {
		t.Errorf("got the title %q", got)
	}
	m.workers[1].recovered()
	p.waits(cell(m.workers[1])+".ready", "ready")
	p.quiet()
}

func nothing(t *testing.T, b browser) {
	m := newMesh(t)
	p := open(t, b, m.url(), desk())
	p.waits("#empty", "Nothing is registered yet", "dynmesh worker --backend")
	if got := p.text("#fleet, #troubles"); got != "" {
		t.Errorf("got %q besides", got)
	}
	m.add(3, endpoints()...)
	p.waits("#headline", "3 ready of 3 registered")
	if got := p.text("#empty"); got != "" {
		t.Errorf("got %q still", got)
	}
	p.quiet()
}

func expected(t *testing.T, b browser) {
	m := newMesh(t, "dyn://dynamo.backend.generate>=5", "dyn://dynamo.prefill.generate>=2")
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "0 ready of 0 registered of 7 expected")
	p.waits(".endpoint.missing", "dynamo.backend.generate", "of 5 expected, 5 short", "nobody is there")
	m.add(4, endpoints()[0], endpoints()[1])
	p.waits("#headline", "4 ready of 4 registered of 7 expected")
	p.waits(".endpoint.missing", "of 5 expected, 3 short")
	p.waits(".endpoint.well", "dynamo.prefill.generate", "of 2 expected", "all well")
	p.quiet()
}

// Of workers that serve a model, other endpoints are not shown, whatever becomes of them.
func withoutModel(t *testing.T, b browser) {
	m := newMesh(t, "model:ti*/decode>=2", "model:tiny>=2", "dyn://dyn*.*.gen*te>=2", "model:tiny/prefill>=1")
	m.add(2, endpoints()[0])
	aside := func(w *worker) *worker {
		other := *w
		other.Endpoint.Name = "load"
		return &other
	}
	for _, w := range m.workers {
		card := fmt.Sprintf(`{"namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":%d,"type":"Model","card_json":{"display_name":"tiny","worker_type":"decode"}}`, uint64(w.ID))
		key := strings.Replace(w.String(), "v1/instances/", "v1/mdc/", 1)
		if _, err := m.kv.Txn(t.Context()).Then(append(aside(w).puts(), clientv3.OpPut(key, card))...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what is aside", func() bool { return strings.Count(m.get("mesh"), `"auxiliary":true`) == 2 })
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "2 ready of 2 registered", "3 of 4 expectations hold")
	p.waits(".endpoint.missing", "model:tiny/prefill", "of 1 expected, 1 short")
	p.waits("#endpoints", "model:tiny/decode", "2 ready of 2")
	p.waits(".group-title", "dynamo.backend.generate", "model:tiny/decode")
	if _, err := m.kv.Delete(t.Context(), aside(m.workers[0]).String()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is gone", func() bool { return strings.Count(m.get("mesh"), `"auxiliary":true`) == 1 })
	m.workers[1].frozen() // told after that
	p.waits(".trouble.notready", "gpu-001")
	p.waits("#endpoints", "dynamo.backend.generate")
	if got := p.text("#endpoints"); strings.Contains(got, "load") {
		t.Errorf("got %q", got)
	}
	p.quiet()
	p = open(t, b, m.url()+look(m.workers[1]), desk())
	p.waits("#detail", "model:tiny/decode", "dynamo.backend.load")
	p.quiet()
}

// Who dies, dies once.
func twice(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(2, endpoints()[0])
	other := *m.workers[0]
	other.Endpoint.Name = "load"
	if _, err := m.kv.Txn(t.Context()).Then(other.puts()...).Commit(); err != nil {
		t.Fatal(err)
	}
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "registered")
	p.waits("#grid", "dynamo.backend.load")
	m.workers[0].killed()
	p.waits("#troubles-title", "Not well: 1")
	p.waits(".trouble.unreachable", "gpu-000", "and 1 more endpoint")
	p.quiet()
}
