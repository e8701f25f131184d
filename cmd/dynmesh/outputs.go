package main

import (
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// outputKinds are the outputs that a frontend can have. The frontend's own settings, and those of
// its registries, have been read when they are opened.
func outputKinds(of *frontend.Config, registries *discoveryOptions) []outputKind {
	return append(kubernetesOutputs(registries),
		&dynamoOutput{frontend: of},
		&haproxyOutput{},
		newXDSOutput(of),
	)
}

// outputKind is an output as the command knows it.
type outputKind interface {
	register(flags *pflag.FlagSet)

	// open returns the output, with its port bound; nil where no setting asks for it.
	open(log *logrus.Entry) (output.Output, error)
}

// outputOptions are the settings of all outputs.
type outputOptions struct {
	kinds      []outputKind
	minHealthy output.Floor
	withdrawOn []string
	dryRun     bool
}

func (o *outputOptions) register(flags *pflag.FlagSet) {
	for _, kind := range o.kinds {
		kind.register(flags)
	}
	registerMinHealthy(flags, &o.minHealthy)
	registerWithdrawOn(flags, &o.withdrawOn)
	register(flags, setting{"dry-run", "DYN_OUTPUT_DRY_RUN", &boolValue{&o.dryRun}, "outputs do nothing: the log, /mesh and the metrics say what they would do"})
}

// registerMinHealthy adds the floor that all who tell routers keep to.
func registerMinHealthy(flags *pflag.FlagSet, floor *output.Floor) {
	*floor = output.DefaultFloor()
	register(flags, setting{"output-min-healthy", "DYN_OUTPUT_MIN_HEALTHY", &floorValue{floor}, "how many servers of an endpoint or model stay in at least, whatever verdicts say: a part (50%) or a number; so many as are expected do anyway"})
}

// registerWithdrawOn adds what withdraws a server that works.
func registerWithdrawOn(flags *pflag.FlagSet, kinds *[]string) {
	register(flags, setting{"output-withdraw-on", "DYN_OUTPUT_WITHDRAW_ON", &listValue{target: kinds, once: true, check: oneOf(fleet.RemarkKinds()...)}, "what withdraws a server that works, as far as the floor allows it: answers (that differ from its peers'), slow (beside its peers, at equal load), failures (of a part of its real requests); default nothing does"})
}

// open returns the outputs that are asked for.
func (o *outputOptions) open(log *logrus.Entry) (all []output.Output, err error) {
	for _, kind := range o.kinds {
		opened, err := kind.open(log)
		if err != nil {
			return nil, err
		}
		if opened != nil {
			all = append(all, opened)
		}
	}
	return all, nil
}

// floorValue takes 50% or 2.
type floorValue struct{ target *output.Floor }

func (v *floorValue) String() string {
	if v.target == nil {
		return ""
	}
	return v.target.String()
}
func (v *floorValue) Type() string { return "part|count" }
func (v *floorValue) Set(s string) (err error) {
	floor, err := output.ParseFloor(s)
	if err == nil {
		*v.target = floor
	}
	return err
}
