//go:build !nokubernetes

package main

import (
	"context"
	"errors"
	"slices"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/kubernetes"
	"github.com/dynmesh/dynmesh/frontend/output"
	outputs "github.com/dynmesh/dynmesh/frontend/output/kubernetes"
)

func openKubernetes(o kubernetesOptions, log *logrus.Entry) (discovery.Source, error) {
	return kubernetes.New(kubernetes.Config{Kubeconfig: o.config, Namespace: o.namespace, Services: o.services, ReadinessGate: o.gate, Log: log})
}

// kubernetesOutputs returns the outputs that write to Kubernetes, as and where the registry's
// settings say.
func kubernetesOutputs(of *discoveryOptions) []outputKind {
	o := &kubernetesOutput{of: of, lease: outputs.DefaultLease}
	return []outputKind{&slicesOutput{kubernetesOutput: o}, &gatesOutput{o}}
}

// kubernetesOutput is what both outputs need.
type kubernetesOutput struct {
	of    *discoveryOptions
	lease string
}

func (o *kubernetesOutput) config(log *logrus.Entry) outputs.Config {
	return outputs.Config{Kubeconfig: o.of.kubernetes.config, Namespace: o.of.kubernetes.namespace, Lease: o.lease, Log: log}
}

// slicesOutput writes EndpointSlices.
type slicesOutput struct {
	*kubernetesOutput
	services []string
}

func (o *slicesOutput) register(flags *pflag.FlagSet) {
	register(flags,
		setting{"endpointslices", "DYN_ENDPOINTSLICES", &listValue{target: &o.services, check: outputs.CheckService}, "Services without a selector whose EndpointSlices are written, and what serves each: namespace/service=dyn://namespace.component.endpoint, or =model/NAME; several with commas between them, or the flag again; when dynmesh is gone, they stand as they were written last"},
		setting{"kubernetes-lease", "DYN_KUBERNETES_LEASE", &stringValue{&o.lease, outputs.CheckLease}, "begins the names of the Leases by which frontends agree on who writes to Kubernetes: another one for each group of frontends in a namespace"},
	)
}

func (o *slicesOutput) open(log *logrus.Entry) (output.Output, error) {
	if len(o.services) == 0 {
		return nil, nil
	}
	s, err := outputs.NewSlices(outputs.SlicesConfig{Config: o.config(log), Services: o.services})
	if err != nil {
		return nil, withSetting(err)
	}
	return s, nil
}

// gatesOutput writes readiness gates.
type gatesOutput struct{ *kubernetesOutput }

func (o *gatesOutput) register(flags *pflag.FlagSet) {
	register(flags, setting{"readiness-gate", "DYN_READINESS_GATE", &boolValue{&o.of.kubernetes.gate}, "write the readiness gate dynmesh.dev/ready of pods that have it; when dynmesh is gone, gates stand as they were written last, and new pods wait (dynmesh release)"})
}

func (o *gatesOutput) open(log *logrus.Entry) (output.Output, error) {
	if !o.of.kubernetes.gate {
		return nil, nil
	}
	if !slices.Contains(o.of.names, "kubernetes") {
		return nil, errors.New("DYN_READINESS_GATE: want kubernetes in DYN_DISCOVERY_BACKEND, which says what runs in which pod")
	}
	g, err := outputs.NewGates(o.config(log))
	if err != nil {
		return nil, withSetting(err)
	}
	return g, nil
}

// kubernetesReleasers return what undoes what the outputs may leave behind.
func kubernetesReleasers() []releaser {
	of := &kubernetesOptions{}
	return []releaser{&slicesReleaser{of: of}, &gatesReleaser{of}}
}

// slicesReleaser removes EndpointSlices.
type slicesReleaser struct {
	of       *kubernetesOptions
	services []string
}

func (*slicesReleaser) name() string { return "endpointslices" }

func (r *slicesReleaser) register(flags *pflag.FlagSet) {
	r.of.register(flags)
	register(flags, setting{"endpointslices", "DYN_ENDPOINTSLICES", &listValue{target: &r.services, check: outputs.CheckService}, "as the frontends had it: slices in the namespaces of these Services are removed, too"})
}

func (r *slicesReleaser) check() error { return r.of.checkRelease() }

func (r *slicesReleaser) release(ctx context.Context, dryRun bool, did func(string)) error {
	release, err := outputs.NewRelease(r.of.releaseConfig(), dryRun, did)
	if errors.Is(err, outputs.ErrNoCluster) {
		return nil
	}
	if err != nil {
		return err
	}
	return release.Slices(ctx, r.services)
}

// gatesReleaser writes all gates True.
type gatesReleaser struct{ of *kubernetesOptions }

func (*gatesReleaser) name() string            { return "readinessgates" }
func (*gatesReleaser) register(*pflag.FlagSet) {}
func (r *gatesReleaser) check() error          { return r.of.checkRelease() }

func (r *gatesReleaser) release(ctx context.Context, dryRun bool, did func(string)) error {
	release, err := outputs.NewRelease(r.of.releaseConfig(), dryRun, did)
	if errors.Is(err, outputs.ErrNoCluster) {
		return nil
	}
	if err != nil {
		return err
	}
	return release.Gates(ctx)
}

func (o *kubernetesOptions) releaseConfig() outputs.Config {
	return outputs.Config{Kubeconfig: o.config, Namespace: o.namespace}
}

// checkRelease says what cannot be used. Where there is no Kubernetes, nothing is left there.
func (o *kubernetesOptions) checkRelease() error {
	_, err := outputs.NewRelease(o.releaseConfig(), true, nil)
	if errors.Is(err, outputs.ErrNoCluster) {
		return nil
	}
	return withSetting(err)
}
