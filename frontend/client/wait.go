package client

import (
	"context"
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

const (
	pollInterval   = 500 * time.Millisecond // between an answer and the next question
	reportInterval = 3 * time.Second        // between two lines for whoever watches
	maxLine        = 4000                   // characters of one
)

// WaitError is the error of a Wait that ended before what was expected came true.
type WaitError struct {
	Last  *expect.Result // the newest that is known; nil: no usable answer has ever come
	Cause error          // why there is nothing newer: why the last question had no answer; nil: it had one
}

// Error says in one line what is missing.
func (e *WaitError) Error() string {
	switch {
	case e.Last == nil && e.Cause == nil:
		return "the frontend was not asked: there was no time"
	case e.Last == nil:
		return "the frontend never gave a usable answer: " + e.Cause.Error()
	case e.Cause != nil:
		return fmt.Sprintf("%s (as it was last known: %v)", describe(*e.Last), e.Cause)
	}
	return describe(*e.Last)
}

// Unwrap returns the cause.
func (e *WaitError) Unwrap() error { return e.Cause }

func describe(r expect.Result) string { return plain.Text(r.String(), maxLine) }

// Wait asks again and again until all that is expected holds, or else ctx ends: then its error is a
// *WaitError. Where nothing is expected, it is the frontend's own /ready that has to. That a
// question has no answer, or none that can be used, is no end: frontends restart.
//
// report gets a line on what is missing when that changes, and at most one in three seconds; and
// one at the end where nothing is expected at all.
func (c *Client) Wait(ctx context.Context, expected []expect.Expectation, report func(line string)) error {
	var e WaitError
	var p throttle
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return &e
		case <-timer.C:
		}
		asked := time.Now()
		r, err := c.result(ctx, expected)
		if err == nil && r.Ready {
			if len(r.Expectations) == 0 {
				report("nothing is expected, here or by the frontend: it says only that the registry has been read")
			}
			return nil
		}
		if err != nil && ctx.Err() != nil && time.Since(asked) < pollInterval && (e.Last != nil || e.Cause != nil) {
			return &e // there was no time for this answer, which says nothing about the frontend
		}
		e.Cause = err
		var line string
		if err != nil {
			line = err.Error()
		} else {
			e.Last, line = &r, describe(r)
		}
		if p.allow(line, time.Now()) {
			report(line)
		}
		timer.Reset(pollInterval)
	}
}

func (c *Client) result(ctx context.Context, expected []expect.Expectation) (expect.Result, error) {
	if len(expected) == 0 {
		return c.Ready(ctx)
	}
	m, err := c.Mesh(ctx)
	if err != nil {
		return expect.Result{}, err
	}
	return expect.Evaluate(expected, m.View()), nil
}

// throttle keeps whoever watches from being told the same twice, or too much.
type throttle struct {
	line string
	at   time.Time
}

// allow says whether to tell line now, and then counts it as told.
func (p *throttle) allow(line string, now time.Time) bool {
	if line == p.line || !p.at.IsZero() && now.Sub(p.at) < reportInterval {
		return false
	}
	p.line, p.at = line, now
	return true
}
