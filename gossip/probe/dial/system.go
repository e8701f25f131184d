package dial

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// Bounds on what a system port says.
const (
	maxStatusBody  = 8 << 20 // of /metrics; engines have some 100 KB
	maxStatusLine  = 64 << 10
	maxStatusNames = 256 // endpoints
	maxStatusName  = 255 // bytes of an endpoint's name
	keptSystems    = 4096
)

// systemPorts asks workers' system ports, over connections that it keeps where there are not too
// many.
//
// What Dynamo logs of it at INFO decides what is asked (1.6.1):
//
//	OPTIONS /metrics     405, at once and without a line: a sign of life of the process
//	GET /metrics         200, without a line
//	GET /engine/status   404 where there is none, without a line
//	GET /health          with canaries off 503, and each is an ERROR
type systemPorts struct {
	reused, fresh *http.Transport
}

func newSystemPorts(n Network) systemPorts {
	transport := func(keep bool) *http.Transport {
		return &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dial(ctx, addr) },

			DisableKeepAlives: !keep, MaxIdleConns: keptSystems, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
			DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return systemPorts{reused: transport(true), fresh: transport(false)}
}

func (s systemPorts) close() {
	s.reused.CloseIdleConnections()
	s.fresh.CloseIdleConnections()
}

// askSystem finds out whether a system port answers, whatever. Where nothing comes for a while, it
// asks on another connection, too: the one that is kept may be what is broken.
func (d *Dialer) askSystem(job *probe.Dial) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(d.ctx, watch.SystemTimeout)
	defer cancel()
	ended := make(chan error, 2)
	ask := func(ctx context.Context, over *http.Transport) {
		d.wg.Go(func() { ended <- d.systems.isAlive(ctx, over, job.Addr) })
	}
	ask(ctx, d.systems.reused)
	running, hedge := 1, time.NewTimer(watch.SystemHedge)
	defer hedge.Stop()
	var err error
	var connected atomic.Bool // anew: the host of the one that is kept may be gone
	for hedged := false; running > 0; {
		select {
		case <-hedge.C:
		case err = <-ended:
			running--
			if err == nil {
				running = 0
				continue
			}
			// Such as a connection that it has closed meanwhile.
		}
		if !hedged {
			hedged = true
			running++
			ask(traced(ctx, &connected), d.systems.fresh)
		}
	}
	outcome := outcomeOf(err, time.Since(began)-watch.SystemTimeout)
	if outcome == watch.TimedOut && !connected.Load() {
		outcome = watch.Unreachable // nobody has taken the question
	}
	d.report(probe.DialEnded{Dial: job, Outcome: outcome})
}

// isAlive asks what costs the worker nothing. Any answer will do.
func (s systemPorts) isAlive(ctx context.Context, over *http.Transport, addr string) error {
	request, err := newRequest(ctx, http.MethodOptions, addr, "/metrics")
	if err != nil {
		return err
	}
	answer, err := over.RoundTrip(request)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, maxStatusLine) // so that the connection can be used again
	return answer.Body.Close()
}

// askStatus finds out what a system port says.
func (d *Dialer) askStatus(job *probe.Dial) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(d.ctx, watch.StatusTimeout)
	defer cancel()
	status := probe.SystemStatus{InFlight: -1}
	err := d.systems.get(ctx, job.Addr, "/metrics", func(code int, body io.Reader) error {
		return readMetrics(body, &status)
	})
	if err == nil && job.Engine {
		err = d.systems.get(ctx, job.Addr, "/engine/status", func(code int, body io.Reader) error {
			status.NoEngine = code == http.StatusNotFound
			return readEngine(body, &status)
		})
	}
	if err == nil && job.Health {
		err = d.systems.get(ctx, job.Addr, "/health", func(code int, body io.Reader) error {
			return readHealth(code, body, &status)
		})
	}
	d.report(probe.DialEnded{Dial: job, Outcome: outcomeOf(err, time.Since(began)-watch.StatusTimeout), Status: status})
}

func (s systemPorts) get(ctx context.Context, addr, path string, read func(code int, body io.Reader) error) error {
	request, err := newRequest(ctx, http.MethodGet, addr, path)
	if err != nil {
		return err
	}
	answer, err := s.reused.RoundTrip(request)
	if err != nil {
		return err
	}
	body := io.LimitReader(answer.Body, maxStatusBody)
	err = read(answer.StatusCode, body)
	_, _ = io.Copy(io.Discard, body)
	return cmp.Or(err, answer.Body.Close())
}

// traced has it noted that a connection was to be had.
func traced(ctx context.Context, connected *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
}

func newRequest(ctx context.Context, method, addr, path string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, nil)
	if err == nil {
		request.Header.Set("User-Agent", "dynmesh")
	}
	return request, err
}

// readMetrics finds whose the metrics are, and how many requests it has. What it does not
// understand it passes over.
func readMetrics(body io.Reader, status *probe.SystemStatus) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4<<10), maxStatusLine)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasPrefix(line, []byte("dynamo_component_")) {
			continue
		}
		if status.Worker == "" {
			if _, rest, found := bytes.Cut(line, []byte(`worker_id="`)); found {
				id, _, _ := bytes.Cut(rest, []byte(`"`))
				status.Worker = string(id[:min(len(id), 16)])
			}
		}
		if bytes.HasPrefix(line, []byte("dynamo_component_inflight_requests{")) {
			at := bytes.LastIndexByte(line, ' ')
			if n, err := strconv.ParseFloat(string(line[at+1:]), 64); err == nil && n >= 0 && n < math.MaxInt32 {
				status.InFlight = max(status.InFlight, 0) + int(n)
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil
	}
	return lines.Err()
}

// readEngine reads what an engine says of itself, where it does.
func readEngine(body io.Reader, status *probe.SystemStatus) error {
	var said struct {
		Draining bool `json:"draining"`
		InFlight *int `json:"in_flight"`
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxStatusLine))
	if err != nil || json.Unmarshal(raw, &said) != nil {
		return err
	}
	status.Draining = said.Draining
	if said.InFlight != nil && *said.InFlight >= 0 {
		status.InFlight = *said.InFlight
	}
	return nil
}

// readHealth reads the states of endpoints. The overall status says nothing: it is notready over
// endpoints that are all ready wherever canaries are off.
func readHealth(code int, body io.Reader, status *probe.SystemStatus) error {
	var said struct {
		Endpoints map[string]string `json:"endpoints"`
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxStatusLine))
	if err != nil || json.Unmarshal(raw, &said) != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(said.Endpoints)) { // of too many, the same ones each time
		if said.Endpoints[name] != "ready" && len(name) <= maxStatusName && len(status.NotReady) < maxStatusNames {
			status.NotReady = append(status.NotReady, name)
		}
	}
	status.NoHealth = code == http.StatusServiceUnavailable && len(status.NotReady) == 0
	return nil
}
