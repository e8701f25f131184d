package main

import (
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/pair"
)

// prefillComponent is Dynamo's name for workers that prefill.
const prefillComponent = "prefill"

// pairOptions say whether pairs are asked.
type pairOptions struct{ prefill string } // the component of workers that prefill; empty: they are not

// prefillValue takes off, on, or the name of a component.
type prefillValue struct{ target *string }

func (v *prefillValue) String() string {
	if v.target == nil || *v.target == "" {
		return "off"
	}
	return *v.target
}
func (v *prefillValue) Type() string { return "off|on|component" }
func (v *prefillValue) Set(s string) error {
	switch s {
	case "off", "false", "0":
		*v.target = ""
	case "on", "true", "1":
		*v.target = prefillComponent
	default:
		if namePart(func(e *dynmesh.Endpoint, s string) { e.Component = s })(s) != nil {
			return errors.New("want off, on, or the name of the component that prefills")
		}
		*v.target = s
	}
	return nil
}

// add has pairs asked beside the worker that will be at front. A worker that prefills itself asks
// nobody.
func (o pairOptions) add(e *engine, cfg worker.Config, log *logrus.Logger, front **worker.Worker) error {
	switch {
	case o.prefill == "" || o.prefill == cfg.Component:
		return nil
	case e.sidecar == nil:
		return errors.New("DYN_PAIR_CANARY: want DYN_BACKEND with it: the built-in mock engine is in no pair")
	case cfg.Gossip == nil:
		return errors.New("DYN_PAIR_CANARY: it is set, and DYN_GOSSIP_BIND is " + gossipOff + ": who prefills is known by gossip")
	}
	tls, err := access.Client{CAFile: cfg.Access.ClientCAFile, CertFile: cfg.Access.CertFile, KeyFile: cfg.Access.KeyFile}.TLS()
	if err != nil {
		return err
	}
	prompter := e.sidecar.Prompter()
	e.pairs = pair.New(pair.Config{
		Own: dynmesh.Endpoint{Namespace: cfg.Namespace, Component: cfg.Component}, Prefill: o.prefill,
		Mesh: func() pair.Mesh { return (*front).Pool() }, TLS: tls,
		Engine: e.sidecar.Engine, Model: prompter.Model, Ask: prompter.Answer, Activity: e.watch.Activity, Report: e.failures.Asked,
		Log: log.WithField(targetKey, "pair"),
	})
	e.runs = append(e.runs, component{"pair canary", e.pairs.Run})
	return nil
}
