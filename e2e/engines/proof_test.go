package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What is asked of canaries that are pinned to workers of Dynamo's.
const (
	proofMost   = 10 * time.Second // until one that is stopped is found by them alone
	proofPeriod = 7500 * time.Millisecond
	proofFor    = 30 * time.Second // of looking at Dynamo's logs while they go on
)

// trouble is a line of Dynamo's log above INFO.
var trouble = regexp.MustCompile(`(?m)^.*(WARN|ERROR).*$`)

// completed is what a worker of Dynamo's logs of each request.
const completed = "push_handler: request completed"

// TestDynamoProof has canaries pinned to workers without a system port: an ordinary one, one of two
// data-parallel ranks, and a pair of which one prefills.
func TestDynamoProof(t *testing.T) {
	wanted(t, "proof")
	env := install.Python(t, "testdata/dynamo.txt", 15*time.Minute, "3.11", "3.12", "3.13")
	port := testkit.FreePort(t)
	root := fmt.Sprintf("http://127.0.0.1:%d", port)
	via := []string{"--probe-via", root}
	d := &dynamo{fleet: newFleet(t, via...), env: env, model: model.HuggingFace(t), root: root, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}}
	t.Cleanup(d.client.CloseIdleConnections)
	d.frontends = []string{d.frontend, d.startFrontend(t, via...)}
	d.front = d.start(t, "Dynamo's frontend", "dynamo.frontend", "--http-port", fmt.Sprint(port))

	const alone, ranks, decodes, prefills = "dyn://alone.backend.generate", "dyn://ranks.backend.generate", "dyn://pair.backend.generate", "dyn://pair.prefill.generate"
	workers := map[string]*testkit.Process{} // by endpoint
	for endpoint, args := range map[string][]string{
		alone: nil, ranks: {"--data-parallel-size", "2"}, decodes: {"--disaggregation-mode", "decode"}, prefills: {"--disaggregation-mode", "prefill"},
	} {
		namespace, _, _ := strings.Cut(strings.TrimPrefix(endpoint, "dyn://"), ".")
		cmd := d.module(t, "dynamo.mocker", append([]string{"--model-path", d.model, "--model-name", namespace, "--speedup-ratio", "10", "--endpoint", endpoint}, args...)...)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "DYN_SYSTEM_PORT=") })
		workers[endpoint] = testkit.Start(t, "Dynamo's worker "+endpoint, cmd)
	}
	proven := func() bool {
		for endpoint := range workers {
			if !d.proof(t.Context(), endpoint, "ready, verified") {
				return false
			}
		}
		return true
	}
	testkit.Eventually(t, dynamoStarts, "each worker is proven to both", proven)

	t.Run("quiet and seldom", func(t *testing.T) {
		all := map[string]*testkit.Process{"its frontend": d.front}
		for endpoint, p := range workers {
			all[endpoint] = p
		}
		before := map[string]string{}
		for name, p := range all {
			before[name] = plainLog(p)
		}
		began := time.Now()
		select {
		case <-time.After(proofFor):
		case <-t.Context().Done():
		}
		for name, p := range all {
			said := strings.TrimPrefix(plainLog(p), before[name])
			if lines := trouble.FindAllString(said, -1); len(lines) > 0 {
				t.Errorf("%s wrote, beside canaries that pass:\n%s", name, strings.Join(lines, "\n"))
			}
			// One of a pair answers the canaries about its partner, too.
			asked, most := strings.Count(said, completed), int(time.Since(began)/proofPeriod)+1
			if strings.HasPrefix(name, "dyn://pair.") {
				most *= 2
			}
			t.Logf("%s: %d requests completed in %v", name, asked, time.Since(began).Round(time.Second))
			if name != "its frontend" && (asked == 0 || asked > most) {
				t.Errorf("%s got %d canaries, want 1 to %d", name, asked, most)
			}
		}
	})
	for _, tt := range []struct{ name, endpoint string }{
		{"freeze", alone},
		{"freeze one with ranks", ranks},
		{"freeze one that prefills", prefills},
		{"freeze one that decodes", decodes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pace := testkit.Paced(t)
			began := time.Now()
			signal(t, workers[tt.endpoint], syscall.SIGSTOP)
			testkit.Eventually(t, patience, "it is found", func() bool { return d.proof(t.Context(), tt.endpoint, "notready") })
			took, late := time.Since(began), pace.Longest(began)
			pace.Stop()
			began = time.Now()
			signal(t, workers[tt.endpoint], syscall.SIGCONT)
			testkit.Eventually(t, time.Minute, "all are proven again", proven)
			t.Logf("stopped, notready at both frontends after %v; gone on, all proven after %v; this machine was late by %v at worst", took, time.Since(began), late)
			if took-turns*late > proofMost { // what keeps a process from its turn is not dynmesh's
				t.Errorf("want %v at most", proofMost)
			}
		})
	}
	t.Run("Dynamo's frontend is away", func(t *testing.T) {
		d.front.Kill()
		testkit.Eventually(t, time.Minute, "who asks says so, of all four", func() bool {
			workers := 0
			for _, root := range d.frontends { // each worker is asked by one of them, by chance
				for _, w := range d.mesh(t.Context(), root).Warnings {
					if said := obstacle.FindStringSubmatch(w); said != nil {
						n, _ := strconv.Atoi(said[1]) // digits
						workers += n
					}
				}
			}
			return workers == 4
		})
		for endpoint := range workers {
			for _, root := range d.frontends {
				if got := verdictOn(d.mesh(t.Context(), root), endpoint); !strings.HasPrefix(got, "ready") {
					t.Errorf("%s is %q at %s", endpoint, got, root)
				}
			}
		}
	})
}

// obstacle is how a frontend says that canaries do not get through to so many workers.
var obstacle = regexp.MustCompile(`^canaries do not get through Dynamo's frontend to their workers \((\d+)\)`)

// ansi is what Dynamo's log has of colours.
var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func plainLog(p *testkit.Process) string { return ansi.ReplaceAllString(p.Log.String(), "") }

// mesh returns what a frontend knows.
func (d *dynamo) mesh(ctx context.Context, root string) (m mesh.Mesh) {
	_, body := get(ctx, d.client, root+"/mesh")
	_ = json.Unmarshal(body, &m) // one that does not answer knows nothing
	return m
}

// proof says whether both frontends say that of an endpoint's only instance.
func (d *dynamo) proof(ctx context.Context, endpoint, want string) bool {
	for _, root := range d.frontends {
		if verdictOn(d.mesh(ctx, root), endpoint) != want {
			return false
		}
	}
	return true
}

// verdictOn is the verdict on an endpoint's only instance.
func verdictOn(m mesh.Mesh, endpoint string) string {
	for _, e := range m.Endpoints {
		if e.Name != endpoint || len(e.Instances) != 1 {
			continue
		}
		if e.Instances[0].Verified {
			return string(e.Instances[0].Verdict) + ", verified"
		}
		return string(e.Instances[0].Verdict)
	}
	return ""
}
