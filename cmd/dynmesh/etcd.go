package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/discovery/etcd"
)

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

func registerLeaseTTL(flags *pflag.FlagSet, ttl *time.Duration) {
	*ttl = 10 * time.Second
	register(flags, setting{"etcd-lease-ttl", "ETCD_LEASE_TTL", &secondsValue{ttl, 2 * time.Second}, "how long a process that is gone stays registered, in whole seconds"})
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
	return namedBy(cfg.Validate(), map[string]string{
		"etcd endpoint": "ETCD_ENDPOINTS", "CAFile": "ETCD_AUTH_CA", "CertFile": "ETCD_AUTH_CLIENT_CERT and ETCD_AUTH_CLIENT_KEY",
	})
}
