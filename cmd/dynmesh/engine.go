package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/worker"
	engines "github.com/dynmesh/dynmesh/worker/engine"
	"github.com/dynmesh/dynmesh/worker/failures"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/pair"
	"github.com/dynmesh/dynmesh/worker/proxy"
	"github.com/dynmesh/dynmesh/worker/quality"
	"github.com/dynmesh/dynmesh/worker/sidecar"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// engineOptions say which engine is behind a worker: one that is already there, or the built-in
// mock.
type engineOptions struct {
	backend     sidecar.Config
	mockControl string
	quality     qualityOptions
	pairs       pairOptions
}

// qualityOptions say what quality canaries may cost.
type qualityOptions struct {
	budget   int           // in tokens an hour; 0: there are none
	shortest time.Duration // between two answers; 0: the usual time
}

func (o *engineOptions) register(flags *pflag.FlagSet) {
	o.backend.Activity = sidecar.ActivityProxy
	registerBackend(flags, &o.backend)
	register(flags,
		setting{"activity", "DYN_BACKEND_ACTIVITY", &stringValue{&o.backend.Activity, oneOf(sidecar.ActivityProxy, sidecar.ActivityMetrics)},
			"how real traffic is seen: proxy, or metrics where it does not come through this worker"},
		setting{"backend-metrics", "DYN_BACKEND_METRICS", &urlValue{stringValue{target: &o.backend.Metrics}}, "URL of the engine's counters, which may have a query; default the engine's usual one"},
		setting{"quality-canary", "DYN_QUALITY_CANARY", &budgetValue{&o.quality.budget}, fmt.Sprintf("compare what idle replicas answer to fixed prompts: off, on (%d), or the tokens an hour that it may cost", answers.Default)},
		setting{"pair-canary", "DYN_PAIR_CANARY", &prefillValue{&o.pairs.prefill}, "ask pairs while this engine is idle, as a router of vLLM's or SGLang's does: a worker that prefills, and this engine with what that has read: off, on, or the name of the component that prefills (" + prefillComponent + ")"},
		setting{"mock-control", "DYN_MOCK_CONTROL", &stringValue{&o.mockControl, hostPort}, "host:port at which the mock engine's faults can be set; only without --backend"},
	)
}

// registerBackend adds the settings that the worker and the canary command share.
func registerBackend(flags *pflag.FlagSet, cfg *sidecar.Config) {
	cfg.Engine = engines.Auto
	register(flags,
		setting{"backend", "DYN_BACKEND", &urlValue{stringValue{target: &cfg.Backend}}, "root URL of the engine, such as http://127.0.0.1:8000"},
		setting{"engine", "DYN_ENGINE", &stringValue{&cfg.Engine, oneOf(engines.Names()...)}, "what kind it is: " + strings.Join(engines.Names(), ", ")},
		setting{"health-check-kind", "DYN_HEALTH_CHECK_KIND", &stringValue{&cfg.Kind, oneOf(kind.Names()...)}, "what its canary asks for: " + strings.Join(kind.Names(), ", ") + "; default what it serves"},
		setting{"health-check-path", "DYN_HEALTH_CHECK_PATH", &stringValue{target: &cfg.Path}, "path to send the canary to in place of the engine's own; without a payload it is a GET"},
		setting{"health-check-expect", "DYN_HEALTH_CHECK_EXPECT", &stringValue{target: &cfg.Expect}, "text that the canary's answer must have in it"},
		setting{"health-check-wake", "DYN_HEALTH_CHECK_WAKE", &boolValue{&cfg.Wake}, "send canaries also to an engine that says it sleeps or has unloaded its model"},
		setting{"backend-api-key", "DYN_BACKEND_API_KEY", &secretValue{stringValue{target: &cfg.APIKey}}, "key that the engine wants, sent as Authorization: Bearer"},
		setting{"backend-ca", "DYN_BACKEND_CA", &stringValue{target: &cfg.CAFile}, "PEM file of the authorities that sign the certificate of an engine behind https"},
		setting{"model", "DYN_MODEL", &stringValue{target: &cfg.Model}, "name of its model; default the first one that it lists"},
	)
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		last := len(words) - 1
		if last == 0 {
			return errors.New("want " + words[0])
		}
		return errors.New("want " + strings.Join(words[:last], ", ") + " or " + words[last])
	}
}

// engine is what a worker's endpoints are made of.
type engine struct {
	handler       worker.Handler   // nil: there is a proxy
	proxy         *proxy.Proxy     // nil: there is a handler
	sidecar       *sidecar.Sidecar // where there is a proxy
	watch         canary.Endpoint  // but for its name
	registerAfter <-chan struct{}  // closed once it can be registered; nil: at once
	failures      *failures.Watch  // nil where there is a handler
	quality       *quality.Canary  // nil: answers are not compared
	pairs         *pair.Canary     // nil: pairs are not asked
	runs          []component      // what must run beside the worker
}

// serve makes it an endpoint of w.
func (e engine) serve(w *worker.Worker, name string) error {
	switch {
	case e.proxy != nil && e.watch.CountsCanaries: // requests reach the engine by other ways
		return w.Front(name, timedByEngine{e.proxy, e.sidecar}, worker.Probe(e.watch))
	case e.proxy != nil:
		return w.Front(name, e.proxy, worker.Probe(e.watch))
	}
	return w.Handle(name, e.handler, worker.Probe(e.watch))
}

// timedByEngine is a proxy that sees few requests, or none: the engine itself tells how long they
// take.
type timedByEngine struct {
	*proxy.Proxy
	sidecar *sidecar.Sidecar
}

func (b timedByEngine) Times() traffic.Totals { return b.sidecar.Times() }

// metrics are those of it that the worker's status server has.
func (e engine) metrics() []prometheus.Collector {
	var all []prometheus.Collector
	if e.proxy != nil {
		all = append(all, e.proxy, e.sidecar)
	}
	if e.quality != nil {
		all = append(all, e.quality)
	}
	if e.pairs != nil {
		all = append(all, e.pairs)
	}
	return all
}

// minMetricsWait leaves room between two canaries: for 2 s after each, what moves an engine's
// counters may have been the canary, and real requests would never count.
const minMetricsWait = 3 * time.Second

// engine makes what is behind a worker. front is where the worker will be before it is run: it is
// told of what happens to a backend.
func (o engineOptions) engine(check healthCheckOptions, log *logrus.Logger, front **worker.Worker) (engine, error) {
	if o.quality.budget > 0 && !check.enabled {
		return engine{}, errors.New("DYN_QUALITY_CANARY: want DYN_HEALTH_CHECK_ENABLED=true with it: only an engine that answers canaries is compared with others")
	}
	if o.backend.Backend == "" {
		return o.mock(check, log)
	}
	if o.mockControl != "" {
		return engine{}, errors.New("DYN_MOCK_CONTROL and DYN_BACKEND: want one of them: there is no mock engine where there is a backend")
	}
	if check.enabled && o.backend.Activity == sidecar.ActivityMetrics && check.cfg.Wait < minMetricsWait {
		return engine{}, fmt.Errorf("DYN_CANARY_WAIT_TIME=%v: want %v or more with DYN_BACKEND_ACTIVITY=%s", check.cfg.Wait, minMetricsWait, sidecar.ActivityMetrics)
	}
	o.backend.Payload = check.payload.body
	o.backend.OnSight = func() { (*front).Recheck() }
	o.backend.OnNote = func(text string) { (*front).Note(text) }
	o.backend.OnTrouble = func(f *dynmesh.Failure) { (*front).Suspect(f) }
	o.backend.Log = log.WithField(targetKey, "sidecar")
	s, err := sidecar.New(o.backend)
	if err != nil {
		return engine{}, err
	}
	var fails *failures.Watch
	p, err := proxy.New(proxy.Config{
		Backend: o.backend.Backend, APIKey: o.backend.APIKey, TLS: s.TLS(),
		OnFailure: func(f *dynmesh.Failure) {
			s.RequestFailed(f)
			fails.Failed(f)
			(*front).RequestFailed(f)
		},
		OnPair: func(of pairs.Peer, f *dynmesh.Failure) { fails.Ended(of, f) },
		Log:    log.WithField(targetKey, "proxy"),
	})
	if err != nil {
		return engine{}, err
	}
	watch := canary.Endpoint{Probe: s.Probe(), Activity: s.Activity(p.Activity), CountsCanaries: o.backend.Activity == sidecar.ActivityMetrics}
	fails = failures.New(watch)
	e := engine{
		proxy: p, sidecar: s, failures: fails, watch: watch,
		registerAfter: s.Answered(),
		runs:          []component{{"sidecar", s.Run}, {"proxy", untilClosed(p)}},
	}
	if o.quality.budget > 0 {
		e.quality, err = quality.New(quality.Config{
			Budget: o.quality.budget, Shortest: o.quality.shortest, Revision: s.Prompter().Revision, Ask: s.Prompter().Ask, Engine: s.Prompter().Made,
			Activity: e.watch.Activity, Traffic: p.Answers,
			Log: log.WithField(targetKey, "quality"),
		})
	}
	return e, err
}

// untilClosed closes p at the end, when no request passes any more.
func untilClosed(p *proxy.Proxy) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		p.Close()
		return nil
	}
}

func (o engineOptions) mock(check healthCheckOptions, log *logrus.Logger) (engine, error) {
	payload := check.payload.body
	m, err := mocker.New(mocker.Config{})
	if err != nil {
		return engine{}, err
	}
	if payload == nil {
		payload = mocker.Canary()
	}
	e := engine{handler: m.Generate, watch: canary.Endpoint{Probe: canary.Handler(m.Generate, payload)}}
	if o.mockControl != "" {
		server, err := mocker.NewServer(mocker.ServerConfig{Engine: m, ControlAddr: o.mockControl, Log: log.WithField(targetKey, "mocker")})
		if err != nil {
			return engine{}, err
		}
		e.runs = append(e.runs, component{"mock engine", server.Run})
	}
	if o.quality.budget > 0 {
		e.quality, err = quality.New(quality.Config{
			Budget:   o.quality.budget,
			Revision: func(context.Context) (uint64, error) { return answers.Revision("mock"), nil },
			Ask:      func(ctx context.Context, prompt int) (answers.Sample, error) { return askMock(ctx, m, prompt) },
			Activity: func() canary.Activity { return canary.Activity{InFlight: uint64(m.InFlight())} },
			Log:      log.WithField(targetKey, "quality"),
		})
		if err != nil {
			return engine{}, err
		}
	}
	return e, nil
}

// askMock has the built-in engine answer a prompt.
func askMock(ctx context.Context, m *mocker.Engine, prompt int) (answers.Sample, error) {
	request, err := answers.Request(prompt, false, "", true)
	if err != nil {
		return answers.Sample{}, err
	}
	var sample answers.Sample
	ok := false
	err = m.Generate(ctx, request, func(chunk any) error {
		document, err := json.Marshal(chunk)
		if err == nil {
			sample, ok = answers.Read(document)
		}
		return err
	})
	if err == nil && !ok {
		err = errors.New("the mock engine said nothing")
	}
	return sample, err
}

// canariesWanted says whether canaries are on: as the operator says, else where somebody routes by
// readiness (inside Kubernetes) and where there is a backend, of whose health nothing else would be
// known.
func canariesWanted(flags *pflag.FlagSet, configured bool, backend string) bool {
	if flags.Changed("health-check") || os.Getenv("DYN_HEALTH_CHECK_ENABLED") != "" {
		return configured
	}
	return configured || backend != ""
}
