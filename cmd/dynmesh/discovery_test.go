package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// Registries are named with commas between them, and opened in that order; what cannot be used is
// refused in one line that says what is accepted.
func TestDiscoverySettings(t *testing.T) {
	folder := t.TempDir()
	list := filepath.Join(folder, "list.yaml")
	good := filepath.Join(folder, "good.yaml")
	for path, text := range map[string]string{list: "- endpoint: a.b\n", good: "- endpoint: a.b.c\n  addresses: [h:1]\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", folder)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, tt := range []struct {
		env   map[string]string
		names string // of the sources besides etcd
		etcd  bool
		want  string // of the error
	}{
		{nil, "", true, ""},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "etcd"}, "", true, ""},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": folder}, "file", false, ""},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "file, etcd", "DYN_FILE_KV": folder}, "file", true, ""},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "static,file", "DYN_FILE_KV": folder, "DYN_STATIC_ENDPOINTS": good}, "static file", false, ""},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "consul"}, "", false, `DYN_DISCOVERY_BACKEND="consul": "consul": want etcd, kubernetes, file, static, several with commas between them`},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "mem"}, "", false, "within one process of Dynamo"},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "etcd,etcd"}, "", false, `"etcd" is there twice`},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "static"}, "", false, "DYN_STATIC_ENDPOINTS: want the path of a YAML file"},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "static", "DYN_STATIC_ENDPOINTS": list}, "", false, "DYN_STATIC_ENDPOINTS: " + list + ":1: addresses are missing: want a list"},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": list}, "", false, `DYN_FILE_KV="` + list + `": want a folder`},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "kubernetes", "KUBECONFIG": list}, "", false, `KUBECONFIG: error loading config file "` + list + `": want a kubeconfig`},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "kubernetes"}, "", false, "KUBECONFIG: want a pod with a service account, KUBECONFIG, or ~/.kube/config"},
		{map[string]string{"DYN_DISCOVERY_BACKEND": "kubernetes", "DYN_KUBERNETES_SERVICE": "app=a;:http"}, "", false, `DYN_KUBERNETES_SERVICE: ":http": want a label selector`},
	} {
		for name, value := range tt.env {
			t.Setenv(name, value)
		}
		var o discoveryOptions
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		o.register(flags)
		err := readEnvironment(flags)
		var names []string
		if err == nil {
			all, openErr := o.sources(logrus.NewEntry(logrus.New()))
			for _, s := range all {
				names = append(names, s.Name)
			}
			err = openErr
		}
		for name := range tt.env {
			t.Setenv(name, "")
		}
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v: %v, want %q", tt.env, err, tt.want)
			}
			continue
		}
		if err != nil || !slices.Equal(names, strings.Fields(tt.names)) || o.hasEtcd() != tt.etcd {
			t.Errorf("%v: %q, etcd %v, %v, want %q, %v", tt.env, names, o.hasEtcd(), err, tt.names, tt.etcd)
		}
	}
}
