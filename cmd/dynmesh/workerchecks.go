package main

import (
	"errors"
	"net"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// namePart accepts what may stand in one part of an endpoint's name.
func namePart(set func(*dynmesh.Endpoint, string)) func(string) error {
	return func(s string) error {
		e := dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}
		set(&e, s)
		return e.Validate()
	}
}

// reachableHost accepts a host that means the same to others as it does here.
func reachableHost(s string) error {
	_, err := discovery.AdvertiseHost(s, nil)
	return err
}

func hostPort(s string) error {
	_, _, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want host:port, such as 127.0.0.1:9100")
	}
	return nil
}
