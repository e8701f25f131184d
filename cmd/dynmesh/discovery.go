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
		{"kubernetes", func(o discoveryOptions, log *logrus.Entry) (discovery.Source, error) {
			return openKubernetes(o.kubernetes, log)
		}},
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
	kubernetes           kubernetesOptions
}

// kubernetesOptions are the settings of Kubernetes as a registry.
type kubernetesOptions struct {
	config, namespace string
	services          []string
	gate              bool // pods that dynmesh has withdrawn stay listed
}

func (o *discoveryOptions) register(flags *pflag.FlagSet) {
	o.names, o.fileRoot = []string{etcdBackend}, file.DefaultRoot()
	register(flags,
		setting{"discovery-backend", "DYN_DISCOVERY_BACKEND", &listValue{target: &o.names, check: checkBackend, once: true}, "registries to follow, with commas between them: " + strings.Join(backendNames(), ", ")},
		setting{"file-kv", "DYN_FILE_KV", &stringValue{target: &o.fileRoot}, "folder of Dynamo's registry, for file"},
		setting{"kubernetes-service", "DYN_KUBERNETES_SERVICE", &serviceListValue{listValue{target: &o.kubernetes.services}}, "for kubernetes: Services of engines without Dynamo, by a selector of labels and a port, such as app=vllm:http; several with semicolons between them, or the flag again"},
		setting{"static-endpoints", "DYN_STATIC_ENDPOINTS", &stringValue{target: &o.staticPath}, "YAML file with endpoints and their addresses, for static"},
	)
	o.kubernetes.register(flags)
}

// register adds where Kubernetes is.
func (o *kubernetesOptions) register(flags *pflag.FlagSet) {
	register(flags,
		setting{"kubernetes-namespace", "POD_NAMESPACE", &stringValue{target: &o.namespace}, "namespace to follow, for kubernetes; default the kubeconfig's, or the pod's own"},
		setting{"kubeconfig", "KUBECONFIG", &stringValue{target: &o.config}, "file that says how to reach Kubernetes; default ~/.kube/config, or the pod's service account"},
	)
}

// hasEtcd says whether etcd is among the registries.
func (o discoveryOptions) hasEtcd() bool { return slices.Contains(o.names, etcdBackend) }

// sources opens all but etcd, in the order in which they were named.
func (o discoveryOptions) sources(log *logrus.Entry) (all []discovery.Named, err error) {
	for _, name := range o.names {
		known := backends()
		i := slices.IndexFunc(known, func(b backend) bool { return b.name == name })
		if i < 0 {
			continue // etcd
		}
		s, err := known[i].open(o, log)
		if err != nil {
			return nil, withSetting(err)
		}
		all = append(all, discovery.Named{Name: name, Source: s})
	}
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

// serviceListValue takes selectors with semicolons between them, for they have commas, or the flag
// again for each. What one of them may be is for kubernetes.New to say.
type serviceListValue struct{ listValue }

func (v *serviceListValue) String() string {
	if v.target == nil {
		return ""
	}
	return strings.Join(*v.target, ";")
}

// Set implements pflag.Value.
func (v *serviceListValue) Set(s string) error {
	var all []string
	for service := range strings.SplitSeq(s, ";") {
		all = append(all, strings.TrimSpace(service))
	}
	if v.set {
		all = append(slices.Clone(*v.target), all...)
	}
	v.set = true
	*v.target = all
	return nil
}
