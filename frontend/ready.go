package frontend

import (
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

const readyPath = "/ready"

// readiness is whether the fleet has what is expected, and the answer that says so. It never changes.
type readiness struct {
	expect.Result
	body []byte

	// What it follows from.
	awaited []*part
	state   dynmesh.SyncState
	since   time.Time
}

// expect sets what is expected, before anything is known. Endpoints that are expected are shown though nobody registers
// them.
func (m *mesh) expect(all []expect.Expectation) {
	m.expectations = all
	for _, e := range all {
		endpoint, err := dynmesh.ParseEndpoint(e.Endpoint)
		if err != nil {
			continue // it has a *, so which ones there should be is not said
		}
		g := m.group(endpoint)
		if g.expected == nil || *g.expected < e.Want {
			g.expected = &e.Want
		}
	}
}

// ready evaluates the expectations, which count the instances of the parts given. A fleet may be large, and most changes
// are none of what is expected: then the last result stands.
func (m *mesh) ready(awaited []*part) *readiness {
	if last := m.readiness; last != nil && last.state == m.state && last.since.Equal(m.since) && slices.Equal(last.awaited, awaited) {
		return last
	}
	v := expect.View{Discovery: m.state, Since: m.since}
	for _, p := range awaited {
		v.Endpoints = append(v.Endpoints, p.expectable())
	}
	r := &readiness{Result: expect.Evaluate(m.expectations, v), awaited: awaited, state: m.state, since: m.since}
	r.body = r.AppendJSON(nil)
	m.readiness = r
	return r
}

// expectable returns what of an endpoint expectations look at.
func (p *part) expectable() expect.Endpoint {
	e := expect.Endpoint{Name: p.name}
	for _, c := range p.chunks {
		for _, r := range c.records {
			e.Instances = append(e.Instances, expect.Instance{ID: r.id, Verdict: r.verdict(), Verified: r.verified, Registered: r.registered})
		}
	}
	return e
}

// ready answers /ready.
func (f *Frontend) ready(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	p := f.registry.page.Load()
	response := &c.Response().Header
	response.Set(headerDiscovery, p.discoveryHeader(time.Now()))
	response.Set(fiber.HeaderCacheControl, "no-cache")
	response.SetContentType(fiber.MIMEApplicationJSON)
	if !p.view.ready.Ready {
		c.Status(fiber.StatusServiceUnavailable)
	}
	return c.Send(p.view.ready.body)
}
