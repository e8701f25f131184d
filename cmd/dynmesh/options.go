package main

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/history"
)

// Settings that several commands share. Those of gossip are in gossip.go, those of the log in
// logging.go.

// askOptions are the settings of commands that ask a frontend.
type askOptions struct {
	cfg client.Config
}

func (o *askOptions) register(flags *pflag.FlagSet) {
	o.cfg.URL = client.DefaultURL
	register(flags, setting{"frontend", "DYN_FRONTEND_URL", &urlValue{stringValue{&o.cfg.URL, client.CheckURL}}, "root URL of the frontend to ask"})
	registerAskAccess(flags, &o.cfg.Access)
}

func (o *askOptions) client() (*client.Client, error) {
	c, err := client.New(o.cfg)
	return c, withSetting(err)
}

// registerEtcd adds the settings of the connection to etcd.
func registerEtcd(flags *pflag.FlagSet, cfg *etcd.Config) {
	cfg.Endpoints = []string{etcd.DefaultEndpoint}
	register(flags,
		setting{"etcd-endpoints", "ETCD_ENDPOINTS", &urlListValue{listValue{target: &cfg.Endpoints, check: etcdEndpoint}}, "etcd's addresses"},
		setting{"etcd-username", "ETCD_AUTH_USERNAME", &stringValue{target: &cfg.Username}, "user, where etcd asks for one"},
		setting{"etcd-password", "ETCD_AUTH_PASSWORD", &secretValue{stringValue{target: &cfg.Password}}, "its password; better given by the variable"},
		setting{"etcd-ca", "ETCD_AUTH_CA", &stringValue{target: &cfg.CAFile}, "PEM file of the authorities that sign etcd's certificate"},
		setting{"etcd-cert", "ETCD_AUTH_CLIENT_CERT", &stringValue{target: &cfg.CertFile}, "PEM file of the client's certificate"},
		setting{"etcd-key", "ETCD_AUTH_CLIENT_KEY", &stringValue{target: &cfg.KeyFile}, "PEM file of its key"},
	)
}

// historyOptions are the settings of what a frontend keeps of the past.
type historyOptions struct {
	kept      history.Config
	megabytes int
}

func (o *historyOptions) register(flags *pflag.FlagSet) {
	o.kept.MaxAge, o.megabytes = history.DefaultMaxAge, history.DefaultMaxBytes/1_000_000
	register(flags,
		setting{"history-dir", "DYN_HISTORY_DIR", &stringValue{target: &o.kept.Dir}, "folder of this frontend's own, in which it keeps how verdicts changed; default: it keeps the last changes of each instance, in memory"},
		setting{"history-max-age", "DYN_HISTORY_MAX_AGE", &secondsValue{target: &o.kept.MaxAge}, "how long that is kept"},
		setting{"history-max-mb", "DYN_HISTORY_MAX_MB", &countValue{&o.megabytes, 1_000_000}, "how many MB it may take; the oldest goes first"},
	)
}

// config returns nil where nothing is kept.
func (o *historyOptions) config() *history.Config {
	if o.kept.Dir == "" {
		return nil
	}
	cfg := o.kept
	cfg.MaxBytes = int64(o.megabytes) * 1_000_000
	return &cfg
}

func registerLeaseTTL(flags *pflag.FlagSet, ttl *time.Duration) {
	*ttl = 10 * time.Second
	register(flags, setting{"etcd-lease-ttl", "ETCD_LEASE_TTL", &secondsValue{ttl, wholeSeconds}, "how long a process that is gone stays registered, in whole seconds"})
}

func etcdEndpoint(s string) error {
	return etcd.Config{Endpoints: []string{s}}.Validate()
}

// checkEtcd finds settings that cannot be used together, or files that cannot be read.
func checkEtcd(cfg etcd.Config) error {
	if (cfg.Username == "") != (cfg.Password == "") {
		return errors.New("ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD: one is set without the other, want both or none")
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return errors.New("ETCD_AUTH_CLIENT_CERT and ETCD_AUTH_CLIENT_KEY: one is set without the other, want both or none")
	}
	return withSetting(cfg.Validate())
}

// healthCheckOptions are the settings of canaries.
type healthCheckOptions struct {
	enabled bool
	cfg     canary.Config
	payload payloadValue
}

func (o *healthCheckOptions) register(flags *pflag.FlagSet) {
	// Inside Kubernetes somebody routes by readiness, so it had better be true.
	o.enabled = os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	o.cfg = canary.Config{Wait: 10 * time.Second, Timeout: 3 * time.Second, StartTimeout: time.Minute, FailureThreshold: 1, SuccessThreshold: 1}
	register(flags,
		setting{"health-check", "DYN_HEALTH_CHECK_ENABLED", &boolValue{&o.enabled}, "send canaries; default true inside Kubernetes, and with --backend"},
		setting{"canary-wait-time", "DYN_CANARY_WAIT_TIME", &secondsValue{target: &o.cfg.Wait}, "idle time after which a canary goes out"},
		setting{"health-check-request-timeout", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT", &secondsValue{target: &o.cfg.Timeout}, "bound on a canary's whole answer"},
		setting{"canary-start-timeout", "DYN_CANARY_START_TIMEOUT", &secondsValue{target: &o.cfg.StartTimeout}, "the same for the first answer of an engine that starts; one that loads is not cut off"},
		setting{"health-check-payload", "DYN_HEALTH_CHECK_PAYLOAD", &o.payload, "JSON object to send in place of the engine's own payload, or @FILE"},
		setting{"canary-failure-threshold", "DYN_CANARY_FAILURE_THRESHOLD", &countValue{&o.cfg.FailureThreshold, 1000}, "failures in a row that make an endpoint not ready"},
		setting{"canary-success-threshold", "DYN_CANARY_SUCCESS_THRESHOLD", &countValue{&o.cfg.SuccessThreshold, 1000}, "successes in a row that make it ready"},
		setting{"canary-stall-budget", "DYN_CANARY_STALL_BUDGET", &secondsValue{&o.cfg.Stall, orAuto}, "how long requests may wait without progress before the endpoint is stalled; auto learns it, else longer than the longest prefill"},
	)
}

// config returns nil where canaries are off.
func (o *healthCheckOptions) config() *canary.Config {
	if !o.enabled {
		return nil
	}
	cfg := o.cfg
	cfg.StartTimeout = max(cfg.StartTimeout, cfg.Timeout)
	return &cfg
}

// payloadValue takes a JSON object, or @file with one.
type payloadValue struct {
	body json.RawMessage
}

func (v *payloadValue) String() string { return string(v.body) }
func (v *payloadValue) Type() string   { return "json|@file" }
func (v *payloadValue) Set(s string) error {
	body, err := kind.ParsePayload(s)
	if err != nil {
		return err
	}
	v.body = body
	return nil
}
