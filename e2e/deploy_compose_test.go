package e2e

import (
	"os"
	"testing"

	"sigs.k8s.io/yaml"
)

// checkCompose: the variables are settings, and docker waits for as long as a worker's end may
// take.
func checkCompose(t *testing.T, help map[string]commandHelp) {
	content, err := os.ReadFile("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Command     []string          `json:"command"`
			Environment map[string]string `json:"environment"`
			Grace       string            `json:"stop_grace_period"`
		} `json:"services"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for name, service := range file.Services {
		command, known := help[service.Command[0]]
		if !known {
			continue // etcd
		}
		ours++
		for variable := range service.Environment {
			if !command.has(variable) {
				t.Errorf("%s: %s is no setting of dynmesh %s", name, variable, command.name)
			}
		}
		if command.name == "worker" {
			want := seconds(t, command.settings["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT"]) + endings
			if got := seconds(t, service.Grace); got < want {
				t.Errorf("%s: stop_grace_period is %v, and the end may take %v", name, got, want)
			}
		}
	}
	if ours != 5 {
		t.Errorf("got %d services of dynmesh, want two frontends and three workers", ours)
	}
}
