package pair

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"

	"github.com/dynmesh/dynmesh/canary/pairs"
)

// sglang is the name of the engine that is asked in its own way.
const sglang = "sglang"

// meet asks a pair of SGLang's, as its router does: both engines get the same request at once, and
// meet in its room.
//
// Neither half is answered without the other, so when the own engine fails, nothing is known of the
// other one yet, unless that has refused its half for want of room. It is then asked to read a
// prompt for nobody: where it does not answer that either, the fault is its own, or it has other
// work.
func (c *Canary) meet(ctx context.Context, p Prefill, model string) result {
	port, err := c.meetingPort(ctx, p)
	if err != nil {
		return voidBy(pairs.Peer{}, err)
	}
	host, _, _ := net.SplitHostPort(p.Addr) // the directory has parsed it
	request, by := pairs.Meeting(model, rand.Uint64(), host, port)
	if !c.isIdle() {
		return voidBy(pairs.Peer{}, errBusy)
	}
	asking, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	var refused error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := c.send(asking, p, pairs.Path, request, pairs.MeetingHeader, "1")
		status, ok := errors.AsType[statusError](err)
		if ok && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
			refused = err
			cancel() // the own engine would wait for nobody
		}
	}()
	r := c.judge(by, c.cfg.Ask(asking, pairs.Path, request))
	cancel()
	<-ended
	switch {
	case r.outcome != answered && refused != nil:
		return voidBy(by, fmt.Errorf("the one that prefills: %w", refused))
	case r.outcome == failed:
		alone, _ := pairs.Meeting(model, rand.Uint64(), pairs.Nobody, port)
		if _, err := c.send(ctx, p, pairs.Path, alone); err != nil {
			return voidBy(by, fmt.Errorf("the one that prefills: %w", err))
		}
	}
	return r
}

// meetingPort asks the one that prefills where it is met.
func (c *Canary) meetingPort(ctx context.Context, p Prefill) (port int, err error) {
	for _, path := range pairs.ServerPaths() {
		answer, err := c.send(ctx, p, path, nil)
		if status, ok := errors.AsType[statusError](err); ok && status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("the one that prefills: %w", err)
		}
		if port, ok := pairs.MeetingPort(answer); ok {
			return port, nil
		}
	}
	return 0, errors.New("what prefills does not say where it is met: want an engine of SGLang's with --disaggregation-mode prefill")
}
