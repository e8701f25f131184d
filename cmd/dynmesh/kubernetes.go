//go:build !nokubernetes

package main

import (
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/kubernetes"
)

func openKubernetes(o kubernetesOptions, log *logrus.Entry) (discovery.Source, error) {
	return kubernetes.New(kubernetes.Config{Kubeconfig: o.config, Namespace: o.namespace, Services: o.services, Log: log})
}
