//go:build !noxds

package main

import (
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/output/xds"
)

// xdsOutput are the settings of frontend/output/xds.
type xdsOutput struct {
	frontend *frontend.Config // who may ask it may ask xDS
	cfg      xds.Config
}

func newXDSOutput(of *frontend.Config) outputKind {
	return &xdsOutput{frontend: of, cfg: xds.Config{MaxStreams: xds.DefaultMaxStreams}}
}

func (o *xdsOutput) register(flags *pflag.FlagSet) {
	register(flags,
		setting{"xds", "DYN_XDS", &stringValue{&o.cfg.Addr, hostPort}, "host:port of xDS, which steers Envoy and gRPC clients (xds:///dyn://namespace.component.endpoint); when dynmesh is gone, they keep what they were told last; default: none"},
		setting{"xds-max-streams", "DYN_XDS_MAX_STREAMS", &countValue{&o.cfg.MaxStreams, 1_000_000}, "how many streams of xDS there may be"},
	)
}

func (o *xdsOutput) open(log *logrus.Entry) (output.Output, error) {
	if o.cfg.Addr == "" {
		return nil, nil
	}
	o.cfg.Access, o.cfg.Log = o.frontend.Access, log
	s, err := xds.New(o.cfg)
	if err != nil {
		return nil, withSetting(err) // not a nil *Server in an interface that is not nil
	}
	return s, nil
}
