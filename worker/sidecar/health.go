package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/dynmesh/dynmesh"
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
	path      func() string // "" where there is none, or none that is cheap to ask
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
		if path := h.path(); path != "" {
			if f := h.ask(ctx, path); f != nil {
				h.onTrouble(f)
			}
		}
	}
}

// ask returns what is wrong, by the engine's own word or its kernel's.
func (h *health) ask(ctx context.Context, path string) *dynmesh.Failure {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	resp, err := h.client.get(ctx, h.client.url(path), "")
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
	return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: fmt.Sprintf("the engine's own %s says status 503", path)}
}
