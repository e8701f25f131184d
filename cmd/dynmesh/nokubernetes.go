//go:build nokubernetes

package main

import (
	"errors"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// openKubernetes stands in for the client of Kubernetes where the build leaves it out.
func openKubernetes(kubernetesOptions, *logrus.Entry) (discovery.Source, error) {
	return nil, errors.New("DYN_DISCOVERY_BACKEND: this build cannot follow Kubernetes (it was made with -tags nokubernetes)")
}

// kubernetesOutput stands in for frontend/output/kubernetes.
type kubernetesOutput struct {
	services []string
	lease    string
	gate     bool
}

func kubernetesOutputs(*discoveryOptions) []outputKind { return []outputKind{&kubernetesOutput{}} }

func (o *kubernetesOutput) register(flags *pflag.FlagSet) {
	register(flags,
		setting{"endpointslices", "DYN_ENDPOINTSLICES", &listValue{target: &o.services}, "not in this build"},
		setting{"kubernetes-lease", "DYN_KUBERNETES_LEASE", &stringValue{target: &o.lease}, "not in this build"},
		setting{"readiness-gate", "DYN_READINESS_GATE", &boolValue{&o.gate}, "not in this build"},
	)
}

func (o *kubernetesOutput) open(*logrus.Entry) (output.Output, error) {
	if len(o.services) == 0 && !o.gate {
		return nil, nil
	}
	return nil, errors.New("DYN_ENDPOINTSLICES, DYN_READINESS_GATE: this build cannot write to Kubernetes (it was made with -tags nokubernetes)")
}

// kubernetesReleasers are none: this build cannot reach Kubernetes.
func kubernetesReleasers() []releaser { return nil }
