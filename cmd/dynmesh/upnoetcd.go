//go:build noetcd

package main

import (
	"errors"

	"github.com/sirupsen/logrus"
)

// startEtcd stands in for an etcd where the build leaves it out: it is a quarter of the program,
// and only up needs it.
func startEtcd(string, string, *logrus.Entry) (etcdServer, error) {
	return nil, errors.New("this build has no etcd in it (it was made with -tags noetcd, as the image is), so it cannot run up; " +
		"the parts run by themselves: dynmesh frontend, dynmesh worker")
}
