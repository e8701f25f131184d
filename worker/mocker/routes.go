package mocker

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxBody   = 32 << 20
	maxUnread = 30 * time.Second // how long a client may read nothing
)

func (s *Server) engineRoutes() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newMetrics(s.engine))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("POST /v1/completions", s.completions(false))
	mux.HandleFunc("POST /v1/chat/completions", s.completions(true))
	return mux
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list",
		"data": []map[string]any{
			{"id": s.engine.model, "object": "model", "created": time.Now().Unix(), "owned_by": "dynmesh", "root": s.engine.model},
		},
	})
}

func (s *Server) completions(chat bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			writeError(w, badRequest("", "the request cannot be read: %v", err))
			return
		}
		req, err := s.engine.accept(body, chat)
		if err != nil {
			writeError(w, err)
			return
		}
		if rank, err := strconv.Atoi(r.Header.Get("X-Data-Parallel-Rank")); err == nil && rank >= 0 && rank < s.engine.Knobs().Ranks {
			req.rank = rank
		}
		if req.Stream != nil && *req.Stream {
			s.stream(w, r, req)
			return
		}
		doc, err := s.engine.whole(r.Context(), req)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, doc)
	}
}

// stream answers with server-sent events, one a chunk. The header goes out with the first of them,
// as vLLM's does: a client that waits for the first byte waits for the engine.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, req *request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	out := http.NewResponseController(w)
	event := func(data []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(maxUnread)); err != nil {
			return err
		}
		if _, err := w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
			return err
		}
		return out.Flush()
	}
	err := s.engine.stream(r.Context(), req, func(chunk any) error {
		data, err := json.Marshal(chunk)
		if err != nil {
			return err
		}
		return event(data)
	})
	switch {
	case errors.Is(err, errEmpty):
	case err != nil:
		panic(http.ErrAbortHandler) // net/http's way to cut a connection: the client sees the stream break off
	default:
		_ = event([]byte("[DONE]")) // a client that left before it has all it asked for
	}
}

// writeError answers with OpenAI's error, or cuts the connection where the engine drops it or the
// client is gone.
func writeError(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*Error](err)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	writeJSON(w, refusal.Status, refusal)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // unreachable: all that is passed here marshals
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // who does not wait for the answer needs none
}

const maxKnobsBody = 64 << 10

func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mock/knobs", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.engine.Knobs())
	})
	mux.HandleFunc("PUT /mock/knobs", s.handleKnobs(func(Knobs) Knobs { return Knobs{} }))
	mux.HandleFunc("PATCH /mock/knobs", s.handleKnobs(func(k Knobs) Knobs { return k }))
	return mux
}

// handleKnobs reads knobs on top of base(those in force). It answers once they are in force, the
// listener's state included.
func (s *Server) handleKnobs(base func(Knobs) Knobs) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKnobsBody))
		if err != nil {
			http.Error(w, "knobs: "+err.Error(), http.StatusBadRequest)
			return
		}
		k, err := s.engine.knobStore.update(func(k Knobs) (Knobs, error) {
			k = base(k)
			return k, json.Unmarshal(body, &k)
		})
		if err != nil {
			http.Error(w, "knobs: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.applyRefuse(); err != nil {
			http.Error(w, "knobs are set, but the engine cannot listen yet: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, http.StatusOK, k)
	}
}
