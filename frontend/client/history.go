package client

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// MeshAt asks for everything as it was at a moment: a time such as 2026-11-28T03:12Z, or how long
// ago by the frontend's clock, such as 2h. A frontend that keeps no history, or did not watch then,
// is ErrNotFound, and the error says which.
func (c *Client) MeshAt(ctx context.Context, at string) (*Mesh, error) {
	a, err := c.get(ctx, meshPath+"?at="+url.QueryEscape(at), "")
	if err != nil {
		return nil, err
	}
	m := new(Mesh)
	if err := c.decode(a, m, "at", "discovery", "endpoints"); err != nil {
		return nil, err
	}
	m.Now, m.JSON = m.At.Time, a.body
	return m, nil
}

// Past says which changes are wanted.
type Past struct {
	Endpoint     string             // dyn://namespace.component.endpoint; empty: of all
	ID           dynmesh.InstanceID // 0: of all
	Since, Until time.Time          // both within; zero: without a bound
	Limit        int                // the newest so many; 0: as many as a frontend tells at once
}

// History is what a frontend tells of the past.
type History struct {
	mesh.History
	Now time.Time `json:"-"` // when it answered, by its own clock to about a second
}

// History asks for the newest changes, the oldest first. A frontend that keeps no history is
// ErrNotFound.
func (c *Client) History(ctx context.Context, p Past) (*History, error) { return c.history(ctx, p, "") }

func (c *Client) history(ctx context.Context, p Past, before string) (*History, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("endpoint", p.Endpoint)
	if p.ID != 0 {
		set("id", p.ID.String())
	}
	if !p.Since.IsZero() {
		set("since", text.Time(p.Since))
	}
	if !p.Until.IsZero() {
		set("until", text.Time(p.Until))
	}
	if p.Limit > 0 {
		set("limit", strconv.Itoa(p.Limit))
	}
	set("before", before)
	a, err := c.get(ctx, "/history?"+q.Encode(), "")
	if err != nil {
		return nil, err
	}
	h := &History{Now: a.at}
	return h, c.decode(a, h, "transitions")
}

// window is how much of the past is asked for, and held, at a time.
const window = 6 * time.Hour

// EachTransition has f called with all changes in the order in which they happened, some at a time.
// damaged says that parts of the history cannot be read: there may have been more.
func (c *Client) EachTransition(ctx context.Context, p Past, f func([]mesh.Transition) error) (damaged bool, err error) {
	first, err := c.History(ctx, Past{Limit: 1})
	if err != nil {
		return false, err
	}
	if p.Since.Before(first.Begins.Time) {
		p.Since = first.Begins.Time
	}
	if first.Begins.IsZero() {
		return false, nil // there is nothing
	}
	// Nothing is later but by clocks that were ahead: a time that is far off would be asked for in
	// vain, a window after the other.
	if p.Until.IsZero() {
		p.Until = first.Now
	} else if last := first.Now.Add(window); p.Until.After(last) {
		p.Until = last
	}
	for since := p.Since; !since.After(p.Until); since = since.Add(window) {
		part := p
		part.Since, part.Until = since, since.Add(window-time.Millisecond)
		if part.Until.After(p.Until) {
			part.Until = p.Until
		}
		var all []mesh.Transition
		for before := ""; ; {
			h, err := c.history(ctx, part, before)
			if err != nil {
				return damaged, err
			}
			damaged = damaged || h.Damaged > 0
			all = slices.Concat(h.Transitions, all)
			if h.Before == "" {
				break
			}
			if h.Before == before {
				return damaged, c.failure("/history", errors.New("it tells to ask for the same again"))
			}
			before = h.Before
		}
		if len(all) > 0 {
			if err := f(all); err != nil {
				return damaged, err
			}
		}
	}
	return damaged, nil
}
