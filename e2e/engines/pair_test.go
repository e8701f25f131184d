package engines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// pairNamed bounds what is known of a pair after some of its canaries: three of 6 s each, 2 s
// apart, on a machine where a canary may take as long as that.
const pairNamed = 90 * time.Second

// TestPair asks a pair of which both engines are vLLM, and between them is its NixlConnector: one
// reads a prompt, and the other writes the answer with the KV cache that it fetches. It takes 8 GB
// of memory, and three starts of vLLM.
func TestPair(t *testing.T) {
	wanted(t, "pair")
	v := &vllm{program: filepath.Join(installVLLM(t), "bin", "python"), model: model.HuggingFace(t)}
	hasNIXL(t, v.program)
	prefill, decode := v.ofPair(t), v.ofPair(t)
	prefill.run()
	decode.run()
	prefill.awaitWell(t)
	decode.awaitWell(t)
	between := narrow(t, prefill.root)
	f := newFleet(t)
	p := f.front(t, "prefill", prefill.at(between.root))
	d := f.front(t, "decode", decode, "--pair-canary", "on")
	p.becomesReady(t)
	d.becomesReady(t)

	answered := func(t *testing.T) {
		t.Helper()
		before := d.canaries(t, "answered")
		testkit.Eventually(t, pairNamed, "canaries to the pair are answered", func() bool { return d.canaries(t, "answered") >= before+3 })
	}
	t.Run("it works", func(t *testing.T) {
		answered(t)
		if n := d.canaries(t, "failed"); n > 0 {
			t.Errorf("%v canaries to a pair that works have failed", n)
		}
		if n, moved := d.canaries(t, "answered"), counted(t, decode.root, `vllm:nixl_xfer_time_seconds_count{`); moved < 3 {
			t.Errorf("%v canaries were answered, of which vLLM says that it has fetched %v KV caches", n, moved)
		}
		if got := d.remark(t); got != "" {
			t.Errorf("it is said: %s", got)
		}
	})
	t.Run("the one that prefills stands still", func(t *testing.T) {
		before := d.canaries(t, "failed")
		prefill.signal(t, "core", syscall.SIGSTOP)
		testkit.Eventually(t, pairNamed, "it is not ready", func() bool { return p.frontendSays(t.Context(), newAsker()) == "notready" })
		prefill.signal(t, "core", syscall.SIGCONT)
		p.becomesReady(t)
		answered(t)
		// One may have been between its halves.
		if n := d.canaries(t, "failed"); n > before+1 {
			t.Errorf("%v canaries are counted against the pair, want those of which it had read the prompt", n-before)
		}
	})
	t.Run("what it has read cannot be fetched", func(t *testing.T) {
		between.blocked.Store(true)
		began := time.Now()
		testkit.Eventually(t, pairNamed, "the pair is named", func() bool { return d.remark(t) != "" })
		t.Logf("after %.1f s: %s", time.Since(began).Seconds(), d.remark(t))
		if got := d.remark(t); !strings.Contains(got, strayEngine) {
			t.Errorf("it is said: %s, want who has read the prompt", got)
		}
		for _, s := range []*sidecar{p, d} {
			if got := s.frontendSays(t.Context(), newAsker()); got != "ready, verified" {
				t.Errorf("%s is %s: it is well by itself", s.endpoint, got)
			}
		}
		between.blocked.Store(false)
		began = time.Now()
		testkit.Eventually(t, pairNamed, "nobody is named any more", func() bool { return d.remark(t) == "" })
		t.Logf("taken back %.1f s after it works", time.Since(began).Seconds())
	})
	t.Run("the one that prefills is another one", func(t *testing.T) {
		prefill.Kill()
		testkit.Eventually(t, pairNamed, "it is not ready", func() bool { return p.frontendSays(t.Context(), newAsker()) == "notready" })
		prefill.start(t)
		p.becomesReady(t)
		answered(t)
		if got := d.remark(t); got != "" {
			t.Errorf("it is said: %s", got)
		}
	})
}

// hasNIXL leaves a test out where NIXL cannot be used. It says why in its last line.
func hasNIXL(t *testing.T, python string) {
	t.Helper()
	const script = `from nixl._api import nixl_agent, nixl_agent_config; nixl_agent("dynmesh", nixl_agent_config(backends=["UCX"]))`
	if out, err := exec.CommandContext(t.Context(), python, "-c", script).CombinedOutput(); err != nil {
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		install.LeftOut(t, "NIXL cannot be used here: %v: %.200s", err, lines[len(lines)-1])
	}
}

// ofPair is one of a pair, which has not been started. Which of the two it is requests say.
func (v *vllm) ofPair(t *testing.T) *engine {
	t.Helper()
	one := *v
	one.port = testkit.FreePort(t)
	e := one.engine(t)
	e.command = append(e.command, "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_buffer_device":"cpu"}`)
	e.env = append(e.env, "VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1", fmt.Sprintf("VLLM_NIXL_SIDE_CHANNEL_PORT=%d", testkit.FreePort(t)))
	return e
}

// strayEngine is who has read a prompt, by the word of an engine behind a narrows that is blocked.
const strayEngine = "00000000-0000-4000-8000-000000000000"

// narrows passes on what an engine answers. While it is blocked, what the engine has read is to be
// fetched where nobody answers, as behind a firewall: from an engine that is not known yet, for
// with those that are, no handshake is needed any more.
type narrows struct {
	root    string
	blocked atomic.Bool
}

func narrow(t *testing.T, engine string) *narrows {
	t.Helper()
	to, err := url.Parse(engine)
	if err != nil {
		t.Fatal(err)
	}
	n := &narrows{}
	dead := testkit.FreePort(t)
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ModifyResponse: func(r *http.Response) error {
			if !n.blocked.Load() || r.Header.Get("Content-Type") != "application/json" {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			var answer map[string]any
			if err != nil || json.Unmarshal(body, &answer) != nil {
				return err
			}
			if params, ok := answer["kv_transfer_params"].(map[string]any); ok {
				params["remote_engine_id"], params["remote_port"] = strayEngine, dead
			}
			if body, err = json.Marshal(answer); err != nil {
				return err
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	})
	t.Cleanup(server.Close)
	n.root = server.URL
	return n
}

// canaries is how many canaries to pairs had an outcome.
func (s *sidecar) canaries(t *testing.T, outcome string) float64 {
	t.Helper()
	return counted(t, s.status, fmt.Sprintf("dynmesh_pair_canaries_total{outcome=%q}", outcome))
}

// counted is the value of the first series whose line begins so; 0: there is none.
func counted(t *testing.T, root, series string) float64 {
	t.Helper()
	var page []byte
	client := newAsker()
	testkit.Eventually(t, patience, "metrics of "+root, func() (ok bool) {
		var status string
		status, page = get(t.Context(), client, root+"/metrics")
		return status == "200"
	})
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, series); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	return 0
}

// remark is what the frontend says of requests that fail at its instance; empty: nothing.
func (s *sidecar) remark(t *testing.T) string {
	t.Helper()
	var all mesh.Mesh
	_, body := get(t.Context(), newAsker(), s.frontend+"/mesh")
	if err := json.Unmarshal(body, &all); err != nil {
		return "" // it did not answer in time
	}
	for _, e := range all.Endpoints {
		for _, i := range e.Instances {
			for _, r := range i.Remarks {
				if e.Name == s.endpoint && r.Kind == "failures" {
					return r.Text
				}
			}
		}
	}
	return ""
}
