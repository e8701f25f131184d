//go:build nokubernetes

package main

import (
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/discovery"
)

// openKubernetes stands in for the client of Kubernetes where the build leaves it out.
func openKubernetes(kubernetesOptions, *logrus.Entry) (discovery.Source, error) {
	return nil, errors.New("DYN_DISCOVERY_BACKEND: this build cannot follow Kubernetes (it was made with -tags nokubernetes)")
}
