package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

// engineOptions say which engine is behind a worker: one that is already there, or the built-in mock.
type engineOptions struct {
	backend     sidecar.Config
	mockControl string
}

func (o *engineOptions) register(flags *pflag.FlagSet) {
	o.backend.Engine, o.backend.Activity = "vllm", sidecar.ActivityProxy
	registerBackend(flags, &o.backend)
	register(flags,
		setting{"activity", "DYN_BACKEND_ACTIVITY", &stringValue{&o.backend.Activity, oneOf(sidecar.ActivityProxy, sidecar.ActivityMetrics)},
			"how real traffic is seen: proxy, or metrics where it goes around the proxy"},
		setting{"backend-metrics", "DYN_BACKEND_METRICS", &stringValue{target: &o.backend.Metrics}, "URL of the engine's counters; default the engine's own place for them"},
		setting{"mock-control", "DYN_MOCK_CONTROL", &stringValue{&o.mockControl, hostPort}, "host:port at which the mock engine's faults can be set; none: nowhere"},
	)
}

// registerBackend adds the settings that the worker and the canary command share.
func registerBackend(flags *pflag.FlagSet, cfg *sidecar.Config) {
	register(flags,
		setting{"backend", "DYN_BACKEND", &stringValue{target: &cfg.Backend}, "root URL of the engine, such as http://127.0.0.1:8000"},
		setting{"engine", "DYN_ENGINE", &stringValue{&cfg.Engine, oneOf(canary.Engines()...)}, "what kind it is: " + strings.Join(canary.Engines(), ", ")},
		setting{"model", "DYN_MODEL", &stringValue{target: &cfg.Model}, "name of its model; default the first one that it lists"},
	)
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		for _, word := range words {
			if s == word {
				return nil
			}
		}
		return errors.New("want " + strings.Join(words, ", "))
	}
}

// engine is what a worker's endpoints are made of.
type engine struct {
	handler worker.Handler
	watch   canary.Endpoint               // but for its name
	runs    []func(context.Context) error // what must run beside the worker
}

func (o engineOptions) engine(payload json.RawMessage, log *logrus.Logger) (engine, error) {
	if o.backend.Backend == "" {
		return o.mock(payload, log)
	}
	if o.mockControl != "" {
		return engine{}, errors.New("DYN_MOCK_CONTROL and DYN_BACKEND: want one of them: there is no mock engine where there is a backend")
	}
	o.backend.Payload = payload
	o.backend.Log = log.WithField(targetKey, "sidecar")
	s, err := sidecar.New(o.backend)
	if err != nil {
		return engine{}, namedBy(err, map[string]string{"Backend": "DYN_BACKEND", "Engine": "DYN_ENGINE", "Model": "DYN_MODEL", "Metrics": "DYN_BACKEND_METRICS"})
	}
	activity := s.Activity()
	return engine{
		handler: s.Generate,
		watch:   canary.Endpoint{Probe: s.Probe(), Activity: activity, CountsCanaries: activity != nil},
		runs:    []func(context.Context) error{s.Run},
	}, nil
}

func (o engineOptions) mock(payload json.RawMessage, log *logrus.Logger) (engine, error) {
	m, err := mocker.New(mocker.Config{})
	if err != nil {
		return engine{}, err
	}
	if payload == nil {
		p, err := canary.PayloadFor("vllm", "") // which the mock engine stands in for
		if err != nil {
			return engine{}, err
		}
		payload = p.Body
	}
	e := engine{handler: m.Generate, watch: canary.Endpoint{Probe: canary.Handler(m.Generate, payload)}}
	if o.mockControl != "" {
		server, err := mocker.NewServer(mocker.ServerConfig{Engine: m, ControlAddr: o.mockControl, Log: log.WithField(targetKey, "mocker")})
		if err != nil {
			return engine{}, namedBy(err, map[string]string{"ControlAddr": "DYN_MOCK_CONTROL"})
		}
		e.runs = append(e.runs, server.Run)
	}
	return e, nil
}

// wantsCanaries says whether canaries are on: as the operator says, else where somebody routes by readiness (inside
// Kubernetes) and where there is a backend, of whose health nothing else would be known.
func wantsCanaries(flags *pflag.FlagSet, said bool, backend string) bool {
	if flags.Changed("health-check") || os.Getenv("DYN_HEALTH_CHECK_ENABLED") != "" {
		return said
	}
	return said || backend != ""
}
