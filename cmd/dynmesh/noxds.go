//go:build noxds

package main

import (
	"errors"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// xdsOutput stands in for frontend/output/xds where the build leaves it out.
type xdsOutput struct{ addr string }

func newXDSOutput(*frontend.Config) outputKind { return &xdsOutput{} }

func (o *xdsOutput) register(flags *pflag.FlagSet) {
	register(flags, setting{"xds", "DYN_XDS", &stringValue{target: &o.addr}, "not in this build"})
}

func (o *xdsOutput) open(*logrus.Entry) (output.Output, error) {
	if o.addr == "" {
		return nil, nil
	}
	return nil, errors.New("DYN_XDS: this build cannot serve xDS (it was made with -tags noxds)")
}
