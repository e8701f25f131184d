package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// History answers what was. *[history.Journal] is one.
type History interface {
	Select(history.Query) (history.Page, error)
	At(time.Time) (history.State, error)
	Counts(since, until time.Time, n int) ([]history.Point, error)
	Begins() time.Time
	Problem() string // why nothing can be written now; empty: it can
}

const (
	maxTransitions = 1000 // of an answer
	maxPoints      = 500
	maxQuestions   = 2 // about the past, at the same time: each may decompress much
)

// past answers a question about the past, or says why there is no answer.
func (a answers) past(c *fiber.Ctx, answer func() (any, error)) error {
	s := a.newest.Load()
	if a.history == nil {
		return problem(c, s, fiber.StatusNotFound, "this frontend keeps no history: DYN_HISTORY_DIR names a folder in which it does; /mesh has the last changes of each instance")
	}
	select {
	case a.questions <- struct{}{}:
		defer func() { <-a.questions }()
	default:
		c.Set(fiber.HeaderRetryAfter, "1")
		return problem(c, s, fiber.StatusServiceUnavailable, "there are as many questions about the past as there may be")
	}
	body, err := answer()
	var asked *questionError
	switch none := (*history.NoneError)(nil); {
	case errors.As(err, &asked):
		return problem(c, s, fiber.StatusBadRequest, err.Error())
	case errors.As(err, &none):
		return problem(c, s, fiber.StatusNotFound, err.Error())
	case errors.Is(err, history.ErrCursor):
		return problem(c, s, fiber.StatusBadRequest, err.Error())
	case err != nil:
		return problem(c, s, fiber.StatusServiceUnavailable, err.Error())
	case body == nil:
		return problem(c, s, fiber.StatusNotFound, "there was nothing of this name")
	}
	describe(c, s)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Send(text.JSON(body))
}

// questionError says which part of a question cannot be understood.
type questionError struct{ what, want string }

func (e *questionError) Error() string { return e.what + ": want " + e.want }

// moment reads a time of a question; zero where there is none.
func moment(what, s string, now time.Time) (at time.Time, err error) {
	if s == "" {
		return at, nil
	}
	if at, err = parse.Moment(s, now); err != nil {
		return at, &questionError{what, strings.TrimPrefix(err.Error(), "want ")}
	}
	return at, nil
}

// number reads a number of a question.
func number(c *fiber.Ctx, what string, otherwise, most int) (int, error) {
	s := c.Query(what)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, &questionError{what, fmt.Sprintf("a whole number, 1 to %d", most)}
	}
	return n, nil
}

// transitions answers /history.
func (a answers) transitions(c *fiber.Ctx) error {
	return a.past(c, func() (any, error) {
		q, err := query(c, time.Now())
		if err != nil {
			return nil, err
		}
		page, err := a.history.Select(q)
		if err != nil {
			return nil, err
		}
		h := mesh.History{
			Begins: mesh.Time{Time: a.history.Begins()}, Transitions: make([]mesh.Transition, len(page.Entries)), Before: page.Before,
			Damaged: page.Damaged, Problem: a.history.Problem(),
		}
		for i, e := range page.Entries {
			t := mesh.Transition{At: mesh.Time{Time: e.At}, From: e.From, To: e.To}
			if _, is := e.Cause(); is {
				t.Cause = e.Data
			} else {
				t.Endpoint, t.ID, t.Instance = e.Endpoint, e.ID, e.Data
			}
			h.Transitions[i] = t
		}
		return h, nil
	})
}

// query reads the question that /history is asked.
func query(c *fiber.Ctx, now time.Time) (q history.Query, err error) {
	if q.Endpoint = strings.Clone(c.Query("endpoint")); q.Endpoint != "" {
		q.Endpoint = "dyn://" + strings.TrimPrefix(q.Endpoint, "dyn://")
	}
	if id := c.Query("id"); id != "" {
		if q.ID, err = dynmesh.ParseInstanceID(strings.Clone(id)); err != nil {
			return q, &questionError{"id", "64 bits in lower-case hexadecimal without padding"}
		}
	}
	if q.Since, err = moment("since", c.Query("since"), now); err != nil {
		return q, err
	}
	if q.Until, err = moment("until", c.Query("until"), now); err != nil {
		return q, err
	}
	q.Before = strings.Clone(c.Query("before"))
	q.Limit, err = number(c, "limit", maxTransitions, maxTransitions)
	return q, err
}

// counts answers /history/counts.
func (a answers) counts(c *fiber.Ctx) error {
	return a.past(c, func() (any, error) {
		now := time.Now()
		since, err := moment("since", c.Query("since"), now)
		if err != nil {
			return nil, err
		}
		until, err := moment("until", c.Query("until"), now)
		if err != nil {
			return nil, err
		}
		if until.IsZero() {
			until = now
		}
		if since.IsZero() {
			since = until.Add(-24 * time.Hour)
		}
		if !since.Before(until) || until.Sub(since) > 366*24*time.Hour {
			return nil, &questionError{"since", "a time before until, by a year at most"}
		}
		n, err := number(c, "points", 200, maxPoints)
		if err != nil {
			return nil, err
		}
		points, err := a.history.Counts(since, until, n)
		if err != nil {
			return nil, err
		}
		t := mesh.Timeline{Begins: mesh.Time{Time: a.history.Begins()}, Points: make([]mesh.Point, len(points))}
		for i, p := range points {
			t.Points[i] = mesh.Point{At: mesh.Time{Time: p.At}, Known: p.Known, Changes: p.Changes, Counts: p.Counts}
		}
		return t, nil
	})
}

// pastMesh is /mesh of a moment that is past: instances are as they were written.
type pastMesh struct {
	mesh.Head
	Endpoints []pastEndpoint `json:"endpoints"`
	Members   []mesh.Member  `json:"members"` // the history has none
	Warnings  []string       `json:"warnings"`
}

type pastEndpoint struct {
	mesh.EndpointHead
	Instances []json.RawMessage `json:"instances"`
}

// meshAt answers /mesh?at=, and what is narrower. name is empty for all, id nil for all of an
// endpoint.
func (a answers) meshAt(c *fiber.Ctx, asked, name string, id *dynmesh.InstanceID) error {
	return a.past(c, func() (any, error) {
		now := time.Now()
		at, err := moment("at", asked, now)
		if err != nil {
			return nil, err
		}
		if at.After(now) {
			return nil, &questionError{"at", "a time that has been"}
		}
		state, err := a.history.At(at)
		if err != nil {
			return nil, err
		}
		m := pastMesh{Endpoints: []pastEndpoint{}, Members: []mesh.Member{}, Warnings: []string{}}
		if state.About != nil {
			var around mesh.Around
			if json.Unmarshal(state.About, &around) == nil {
				m.Discovery, m.Gossip, m.Outputs = around.Discovery, around.Gossip, around.Outputs
				var warnings []string
				if json.Unmarshal(around.Warnings, &warnings) == nil {
					m.Warnings = append(m.Warnings, warnings...)
				}
			}
		}
		m.At, m.RenderedAt = mesh.Time{Time: at}, mesh.Time{Time: now}
		if state.Damaged > 0 {
			first := fmt.Sprintf("%d parts of the history cannot be read: what is shown of %s is not all", state.Damaged, at.UTC().Format(time.RFC3339))
			m.Warnings = slices.Insert(m.Warnings, 0, first)
		}
		for _, e := range state.Entries {
			if _, is := e.Cause(); is {
				var c mesh.Cause
				if json.Unmarshal(e.Data, &c) == nil {
					m.Causes = append(m.Causes, c)
				}
				continue
			}
			if n := len(m.Endpoints); n == 0 || m.Endpoints[n-1].Name != e.Endpoint {
				m.Endpoints = append(m.Endpoints, pastEndpoint{EndpointHead: mesh.EndpointHead{Name: e.Endpoint}, Instances: []json.RawMessage{}})
			}
			of := &m.Endpoints[len(m.Endpoints)-1]
			count(&of.EndpointHead, e.Data)
			if id == nil || e.ID == *id {
				of.Instances = append(of.Instances, e.Data)
			}
		}
		slices.SortStableFunc(m.Causes, func(a, b mesh.Cause) int { return cmp.Compare(b.Failing, a.Failing) })
		if name != "" {
			m.Endpoints, m.Members = only(m.Endpoints, name, id), []mesh.Member{}
			if len(m.Endpoints) == 0 {
				return nil, nil
			}
		}
		return m, nil
	})
}

// only returns the endpoint of a name, if it has what is asked for.
func only(all []pastEndpoint, name string, id *dynmesh.InstanceID) []pastEndpoint {
	for _, e := range all {
		if e.Name == name && (id == nil || len(e.Instances) > 0) {
			return []pastEndpoint{e}
		}
	}
	return nil
}

// count adds an instance to the numbers of its endpoint.
func count(to *mesh.EndpointHead, instance []byte) {
	var i struct {
		Verdict              dynmesh.VerdictState
		Verified, Registered bool
	}
	if json.Unmarshal(instance, &i) != nil {
		return
	}
	if !i.Registered {
		to.Unregistered++
		return
	}
	to.Registered++
	if i.Verified {
		to.Verified++
	}
	switch i.Verdict {
	case dynmesh.Ready:
		to.Ready++
	case dynmesh.NotReady:
		to.NotReady++
	case dynmesh.Unreachable:
		to.Unreachable++
	case dynmesh.Draining:
		to.Draining++
	}
}
