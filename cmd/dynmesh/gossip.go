package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/parse"
)

const (
	gossipOff = "off"  // what DYN_GOSSIP_BIND says where there is to be no gossip
	noKey     = "none" // what DYN_GOSSIP_KEY says where gossip is to go in the clear; no key looks like that
)

// gossipOptions are the settings of gossip, the same for workers and frontends.
type gossipOptions struct {
	bind, advertise, label, key, keyring string
	join                                 []string
	networks                             []netip.Prefix
}

func (o *gossipOptions) register(flags *pflag.FlagSet) {
	o.bind, o.label = "0.0.0.0:0", "dynmesh"
	register(flags,
		setting{"gossip-bind", "DYN_GOSSIP_BIND", &stringValue{&o.bind, gossipBind}, "host:port of gossip, over TCP and UDP; " + gossipOff + ": no gossip"},
		setting{"gossip-advertise", "DYN_GOSSIP_ADVERTISE", &stringValue{&o.advertise, gossipAdvertise}, "host or host:port that others reach it at; default POD_IP, else the address that leads to etcd"},
		setting{"gossip-join", "DYN_GOSSIP_JOIN", &listValue{target: &o.join, check: memberAddress}, "members to contact, host:port, besides those that etcd lists"},
		setting{"gossip-label", "DYN_GOSSIP_LABEL", &stringValue{&o.label, gossipLabel}, "name of the mesh: members with different labels do not mix"},
		setting{"gossip-key", "DYN_GOSSIP_KEY", &secretValue{stringValue{target: &o.key}}, "encrypts gossip: what dynmesh keygen prints; better given by the variable; " + noKey + ": nothing is encrypted, and whoever reaches gossip can become a member; default: a key that etcd keeps for all members"},
		setting{"gossip-keyring-file", "DYN_GOSSIP_KEYRING_FILE", &stringValue{target: &o.keyring}, "the same in a file, one key a line, the first encrypts; read again on SIGHUP and when it changes"},
		setting{"probe-networks", "DYN_PROBE_NETWORKS", &networksValue{&o.networks}, "networks in which all members and workers are, such as 10.0.0.0/8,fd00::/8: nothing else that a registry or a member names is connected to; default: everything but link-local, multicast, and loopback addresses of other hosts"},
	)
}

// config returns nil where there is to be no gossip.
func (o gossipOptions) config() (*gossip.Config, error) {
	if o.bind == gossipOff {
		return nil, nil
	}
	cfg := &gossip.Config{Bind: o.bind, Advertise: o.advertise, Label: o.label, Join: o.join, Probe: address.Policy{Networks: o.networks}}
	var err error
	switch {
	case o.key != "" && o.keyring != "":
		return nil, errors.New("DYN_GOSSIP_KEY and DYN_GOSSIP_KEYRING_FILE: both are set, want one of them")
	case o.key == noKey:
		cfg.Keyring = gossip.Unencrypted()
	case o.key != "":
		if cfg.Keyring, err = gossip.NewKeyring(o.key); err != nil {
			return nil, fmt.Errorf("DYN_GOSSIP_KEY: %w: want 16, 24 or 32 bytes in base64, as dynmesh keygen prints them, or %s", err, noKey)
		}
	case o.keyring != "":
		if cfg.Keyring, err = gossip.LoadKeyring(o.keyring); err != nil {
			return nil, fmt.Errorf("DYN_GOSSIP_KEYRING_FILE: %w: want a file with a key a line, as dynmesh keygen prints them", err)
		}
	}
	return cfg, nil
}

// given is the value of a setting, which may be empty.
type given struct{ variable, value string }

// advertisedBy says by which of several settings gossip's address is what it is, where it has none
// of its own: by the first that is given.
func (o gossipOptions) advertisedBy(hosts ...given) []fieldSetting {
	for _, host := range hosts {
		if o.advertise == "" && host.value != "" {
			return []fieldSetting{{"gossip", "Advertise", host.variable}}
		}
	}
	return nil
}

// reloadOnHangup has a keyring read again at each SIGHUP. Where there is none, SIGHUP does nothing:
// who tells all of them to read their keys again does not end those that have none.
func (o gossipOptions) reloadOnHangup(cfg *gossip.Config, log *logrus.Logger) []component {
	if cfg == nil || o.keyring == "" {
		signal.Ignore(syscall.SIGHUP)
		return nil
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP) // from now on, and not from when it runs: a signal must not end a process that starts
	entry := log.WithField(targetKey, "gossip")
	return []component{{"keyring", func(ctx context.Context) error {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-signals:
			}
			if err := cfg.Keyring.Reload(); err != nil {
				entry.WithField("err", err).Error("Cannot read the keyring again: the keys stay as they were")
				continue
			}
			entry.Info("Keyring read again")
		}
	}}}
}

// networksValue takes networks with commas between them.
type networksValue struct{ target *[]netip.Prefix }

func (v *networksValue) String() string {
	if v.target == nil {
		return ""
	}
	var all []string
	for _, n := range *v.target {
		all = append(all, n.String())
	}
	return strings.Join(all, ",")
}
func (v *networksValue) Type() string { return "list" }
func (v *networksValue) Set(s string) (err error) {
	*v.target, err = parse.Networks(s)
	return err
}

func gossipBind(s string) error {
	_, port, err := net.SplitHostPort(s)
	if _, portErr := strconv.ParseUint(port, 10, 16); s != gossipOff && (err != nil || portErr != nil) {
		return errors.New("want host:port, such as 0.0.0.0:7946 (port 0: a free one), or off")
	}
	return nil
}

func gossipAdvertise(s string) error {
	if host, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
			return errors.New("want host or host:port")
		}
		s = host
	}
	return reachableHost(s)
}

func memberAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" {
		return fmt.Errorf("%q: want host:port of a member", s)
	}
	return nil
}

func gossipLabel(s string) error {
	if len(s) == 0 || len(s) > 64 {
		return errors.New("want 1 to 64 bytes")
	}
	return nil
}
