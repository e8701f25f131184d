package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/worker/engine"
)

const (
	// healthPeriod is how often the engine is asked for its own health. It is a line in some engines'
	// access logs each time.
	healthPeriod = 750 * time.Millisecond

	healthTimeout = 3 * time.Second
)

// health asks the engine how it finds itself. Only one answer says something: 503. That it is slow
// to answer is no sign, and that it answers well proves nothing: an engine that hangs may say so.
type health struct {
	client    client
	engine    func() engine.Engine // as far as it is known
	onTrouble func(*dynmesh.Failure)
}

// run asks until ctx ends.
func (h *health) run(ctx context.Context) {
	ticks := time.NewTicker(healthPeriod)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if e := h.engine(); e.Health != "" {
			if f := h.ask(ctx, e); f != nil {
				h.onTrouble(f)
			}
		}
	}
}

// ask returns what is wrong, by the engine's own word or its kernel's.
func (h *health) ask(ctx context.Context, e engine.Engine) *dynmesh.Failure {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	resp, err := h.client.get(ctx, h.client.url(e.Health), "")
	if err != nil {
		if isConnectionRefused(err) {
			return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused", Err: err}
		}
		return nil
	}
	defer resp.Body.Close()
	_ = readPrefix(resp.Body, cancel, maxErrorBody, errorWait) // so that the connection can be used again
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "" {
		return nil
	}
	f := &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: fmt.Sprintf("the engine's own %s says status 503", e.Health)}
	if e.Dies {
		f.Reason = dynmesh.ReasonDead
	}
	return f
}
