//go:build !noetcd

package main

import (
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
)

func startEtcd(dir, addr string, log *logrus.Entry) (etcdServer, error) {
	etcd, err := localetcd.Start(localetcd.Config{Dir: dir, ClientAddr: addr, Log: log})
	if err != nil {
		return nil, err // not a nil *Server in an interface that is not nil
	}
	return etcd, nil
}
