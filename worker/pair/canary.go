package pair

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
	canaries "github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/quality"
)

const (
	tick = 250 * time.Millisecond // between two looks at whether it is time, and the engine idle

	// patient is for each half of a canary. vLLM waits 5 s for the other side's answer before a first
	// transfer (nixl/base_worker.py, RCVTIMEO), and only then says that it failed.
	patient = 6 * time.Second

	// maxLate is how many canaries that had no answer the engine may go on to count. What it has
	// beyond them is others' work, though nothing was answered for hours.
	maxLate = again

	toldAgain = 5 * time.Minute // that pairs cannot be asked

	maxAnswer   = 1 << 20 // bytes of an answer: a block of the KV cache is a number in it
	idleTimeout = 5 * time.Second
)

// outcome is what became of a canary.
type outcome uint8

const (
	void     outcome = iota // it says nothing of the pair: the one that prefills did not answer, or there was other work
	answered                // by the pair
	failed                  // the own engine could not answer what the other one had read
)

// String is the outcome as a metric's label.
func (o outcome) String() string {
	return [...]string{void: "void", answered: "answered", failed: "failed"}[o]
}

// result is what became of a canary, and why.
type result struct {
	outcome
	by       pairs.Peer       // who has read the prompt; the zero value: nobody, or nobody knows
	failure  *dynmesh.Failure // where it failed
	obstacle error            // where it is void
}

func voidBy(by pairs.Peer, err error) result { return result{by: by, obstacle: err} }

// Mesh is a *gossip.Pool, of which nobody else takes the updates.
type Mesh interface {
	Addr() string
	Changed() <-chan struct{}
	Take() dynmesh.GossipUpdate
	Dial(ctx context.Context, addr string) (net.Conn, error) // where that is allowed
}

// Config says for whom others are asked.
type Config struct {
	Own     dynmesh.Endpoint // the worker's namespace and component; required
	Prefill string           // the component of the workers that prefill; required

	Mesh func() Mesh // that the worker is a member of, from Run on; required
	TLS  *tls.Config // of the workers' request ports; nil: they speak plain HTTP

	// Engine is the name of the own engine: pairs of sglang are asked in their own way, and all others
	// as vLLM's. nil: as vLLM's.
	Engine func() string

	// Model is the name of the own engine's model; not ok: it is not known yet, or nothing may be
	// asked of it now.
	Model func(context.Context) (name string, ok bool)

	// Ask has the own engine answer, past the worker, and returns why it did not: a *dynmesh.Failure,
	// or whatever says nothing of it, such as quality.ErrNotNow. It ends with its context.
	Ask func(ctx context.Context, path string, body []byte) error

	Activity func() canary.Activity // of the own engine

	// Report is told what became of each canary that says something of its pair; nil: it was answered.
	Report func(pairs.Peer, *dynmesh.Failure)

	Log *logrus.Entry // nil discards
}

// Canary asks pairs. Make it with [New].
type Canary struct {
	cfg   Config
	http  *http.Client
	asked *prometheus.CounterVec

	// Of Run.
	directory *directory
	schedule  schedule
	late      uint64    // canaries since the last answer that had none in time, of maxLate
	told      time.Time // when it was logged last that pairs cannot be asked
}

// New returns one that does nothing before Run.
func New(cfg Config) *Canary {
	cfg.Log = logging.OrDiscard(cfg.Log).WithField("component", "pair")
	return &Canary{
		cfg: cfg,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, addr string) (conn net.Conn, err error) {
					return cfg.Mesh().Dial(ctx, addr)
				},
				TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: patient,
				DisableCompression: true, MaxIdleConnsPerHost: 1, MaxIdleConns: 16, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: 64 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynmesh_pair_canaries_total",
			Help: "Canaries that went through a worker that prefills and this engine: answered, failed (the pair cannot), or void (nothing is known of the pair).",
		}, []string{"outcome"}),
	}
}

// Describe is for Prometheus.
func (c *Canary) Describe(ch chan<- *prometheus.Desc) { c.asked.Describe(ch) }

// Collect is for Prometheus.
func (c *Canary) Collect(ch chan<- prometheus.Metric) { c.asked.Collect(ch) }

// Run asks until ctx ends.
func (c *Canary) Run(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	mesh := c.cfg.Mesh()
	host, _ := netip.ParseAddrPort(mesh.Addr()) // it always has one
	c.directory = newDirectory(c.cfg.Own, c.cfg.Prefill, host.Addr())
	c.schedule.last, c.schedule.from = time.Now().Add(-rand.N(period)), rand.Uint64() // not all at once, nor with one
	mesh.Changed()                                                                    // else nothing is kept for Take
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		c.directory.take(mesh.Take()) // just before, so that nobody is asked who is gone
		c.step(ctx)
	}
}

// step asks one worker, if this is the moment.
func (c *Canary) step(ctx context.Context) {
	all, decodes := c.directory.prefills()
	p, ok := c.schedule.next(all, decodes, time.Now())
	if !ok || !c.isIdle() {
		return
	}
	asking, cancel := context.WithTimeout(ctx, patient)
	model, ok := c.cfg.Model(asking)
	if cancel(); !ok || !c.isIdle() {
		return
	}
	r := c.ask(ctx, p, model)
	if ctx.Err() != nil {
		return
	}
	c.asked.WithLabelValues(r.String()).Inc()
	c.schedule.asked(p.ID, r.outcome, time.Now())
	if r.outcome == void {
		c.logObstacle(p, r.obstacle)
		return
	}
	r.by.Instance = p.ID
	c.cfg.Report(r.by, r.failure)
}

// isIdle says whether the own engine has nothing to do, canaries apart that it could not answer:
// it may go on to count those.
func (c *Canary) isIdle() bool {
	a := c.cfg.Activity()
	return a.InFlight == 0 && a.Engine <= c.late
}

// ask has a worker read a prompt, and the own engine answer it.
func (c *Canary) ask(ctx context.Context, p Prefill, model string) result {
	if c.cfg.Engine != nil && c.cfg.Engine() == sglang {
		return c.meet(ctx, p, model)
	}
	nonce := rand.Uint64()
	answer, err := c.send(ctx, p, pairs.Path, pairs.Request(model, nonce))
	if err != nil {
		return voidBy(pairs.Peer{}, fmt.Errorf("the one that prefills: %w", err))
	}
	request, by, ok := pairs.Reply(model, nonce, answer)
	if !ok {
		return voidBy(by, errors.New("what prefills hands nothing over: want a kv_transfer_params with a remote_engine_id in its answer, as vLLM's has"))
	}
	if !c.isIdle() {
		return voidBy(by, errBusy)
	}
	asking, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	return c.judge(by, c.cfg.Ask(asking, pairs.Path, request))
}

// judge concludes from the own engine's end of what another one has read, or reads.
func (c *Canary) judge(by pairs.Peer, err error) result {
	why, isFailure := errors.AsType[*dynmesh.Failure](err)
	switch {
	case err == nil:
		c.late = 0
		return result{outcome: answered, by: by}
	case !isFailure:
		return voidBy(by, err)
	}
	if canaries.IsLate(why.Reason) {
		c.late = min(c.late+1, maxLate)
		if c.cfg.Activity().InFlight > 1 { // one may be the canary
			return voidBy(by, errBusy)
		}
	}
	return result{outcome: failed, by: by, failure: why}
}

// errBusy says that the own engine has other work by now.
var errBusy = errors.New("the engine has other requests")

// statusError is an answer that is none.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// send asks a worker: with a body by POST, else by GET. Headers come in pairs, of a name and a
// value.
func (c *Canary) send(ctx context.Context, p Prefill, path string, body []byte, headers ...string) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	scheme, method := "http", http.MethodPost
	if c.cfg.TLS != nil {
		scheme = "https"
	}
	if body == nil {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, scheme+"://"+path, bytes.NewReader(body))
	if err != nil {
		return nil, text.WithoutURL(err) // unreachable: the URL can be parsed
	}
	r.URL.Host, r.Host = p.Addr, p.Addr // a member's word: what is no host:port cannot be dialled, and is no path
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dynmesh")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, text.WithoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = statusError(resp.StatusCode)
	}
	return answer, err
}

// logObstacle logs why pairs cannot be asked, seldom.
func (c *Canary) logObstacle(p Prefill, err error) {
	if err == nil || errors.Is(err, errBusy) || errors.Is(err, quality.ErrNotNow) || time.Since(c.told) < toldAgain {
		return
	}
	c.told = time.Now()
	c.cfg.Log.WithFields(logrus.Fields{"instance": p.ID.String(), "addr": p.Addr, "err": text.Error(err, dynmesh.MaxDetail)}).
		Info("Canary to a pair says nothing of it")
}
