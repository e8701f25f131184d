package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/file"
	"github.com/dynmesh/dynmesh/discovery/static"
)

// etcdBackend is the registry that a frontend has unless it is told otherwise. It alone is the
// frontend package's own.
const etcdBackend = "etcd"

// backend is a kind of registry that a frontend can follow.
type backend struct {
	name string
	open func(discoveryOptions, *logrus.Entry) (discovery.Source, error)
}

// backends returns all but etcd.
func backends() []backend {
	return []backend{
		{"file", func(o discoveryOptions, log *logrus.Entry) (discovery.Source, error) {
			return file.New(file.Config{Root: o.fileRoot, Log: log})
		}},
		{"static", func(o discoveryOptions, log *logrus.Entry) (discovery.Source, error) {
			return static.New(static.Config{Path: o.staticPath, Log: log})
		}},
	}
}

// discoveryOptions are the settings of the registries, but for the connection to etcd.
type discoveryOptions struct {
	names                []string
	fileRoot, staticPath string
}

func (o *discoveryOptions) register(flags *pflag.FlagSet) {
	o.names, o.fileRoot = []string{etcdBackend}, file.DefaultRoot()
	register(flags,
		setting{"discovery-backend", "DYN_DISCOVERY_BACKEND", &listValue{target: &o.names, check: checkBackend, once: true}, "registries to follow, with commas between them: " + strings.Join(backendNames(), ", ")},
		setting{"file-kv", "DYN_FILE_KV", &stringValue{target: &o.fileRoot}, "folder of Dynamo's registry, for file"},
		setting{"static-endpoints", "DYN_STATIC_ENDPOINTS", &stringValue{target: &o.staticPath}, "YAML file with endpoints and their addresses, for static"},
	)
}

// hasEtcd says whether etcd is among the registries.
func (o discoveryOptions) hasEtcd() bool { return slices.Contains(o.names, etcdBackend) }

// sources opens all but etcd.
func (o discoveryOptions) sources(log *logrus.Entry) (all []discovery.Named, err error) {
	for _, b := range backends() {
		if !slices.Contains(o.names, b.name) {
			continue
		}
		s, err := b.open(o, log)
		if err != nil {
			return nil, withSetting(err)
		}
		all = append(all, discovery.Named{Name: b.name, Source: s})
	}
	order := func(s discovery.Named) int { return slices.Index(o.names, s.Name) }
	slices.SortFunc(all, func(a, b discovery.Named) int { return order(a) - order(b) })
	return all, nil
}

func backendNames() []string {
	names := []string{etcdBackend}
	for _, b := range backends() {
		names = append(names, b.name)
	}
	return names
}

func checkBackend(s string) error {
	switch {
	case slices.Contains(backendNames(), s):
		return nil
	case s == "mem":
		return fmt.Errorf("%q is within one process of Dynamo, where nobody else can look: want %s", s, strings.Join(backendNames(), ", "))
	}
	return fmt.Errorf("%q: want %s, several with commas between them", s, strings.Join(backendNames(), ", "))
}
