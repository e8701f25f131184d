package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/canary"
	engines "github.com/dynmesh/dynmesh/worker/engine"
)

// healthCheckOptions are the settings of canaries.
type healthCheckOptions struct {
	enabled bool
	cfg     canary.Config
	payload payloadValue
}

func (o *healthCheckOptions) register(flags *pflag.FlagSet) {
	// Inside Kubernetes somebody routes by readiness, so it had better be true.
	o.enabled = os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	o.cfg = canary.Config{Wait: 10 * time.Second, Timeout: 3 * time.Second, Stall: 2 * time.Minute, FailureThreshold: 1, SuccessThreshold: 1}
	register(flags,
		setting{"health-check", "DYN_HEALTH_CHECK_ENABLED", &boolValue{&o.enabled}, "send canaries; default true inside Kubernetes, and with --backend"},
		setting{"canary-wait-time", "DYN_CANARY_WAIT_TIME", &secondsValue{target: &o.cfg.Wait}, "idle time after which a canary goes out"},
		setting{"health-check-request-timeout", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT", &secondsValue{target: &o.cfg.Timeout}, "bound on a canary's whole answer"},
		setting{"health-check-payload", "DYN_HEALTH_CHECK_PAYLOAD", &o.payload, "JSON object to send in place of the engine's own payload, or @FILE"},
		setting{"canary-failure-threshold", "DYN_CANARY_FAILURE_THRESHOLD", &countValue{&o.cfg.FailureThreshold, 1000}, "failures in a row that make an endpoint not ready"},
		setting{"canary-success-threshold", "DYN_CANARY_SUCCESS_THRESHOLD", &countValue{&o.cfg.SuccessThreshold, 1000}, "successes in a row that make it ready"},
		setting{"canary-stall-budget", "DYN_CANARY_STALL_BUDGET", &secondsValue{target: &o.cfg.Stall}, "how long requests in flight may make no progress; longer than the longest prefill"},
	)
}

// config returns nil where canaries are off.
func (o *healthCheckOptions) config() *canary.Config {
	if !o.enabled {
		return nil
	}
	cfg := o.cfg
	return &cfg
}

// payloadValue takes a JSON object, or @file with one.
type payloadValue struct {
	body json.RawMessage
}

func (v *payloadValue) String() string { return string(v.body) }
func (v *payloadValue) Type() string   { return "json|@file" }
func (v *payloadValue) Set(s string) error {
	body, err := engines.ParsePayload(s)
	if err != nil {
		return err
	}
	v.body = body
	return nil
}
