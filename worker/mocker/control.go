package mocker

import (
	"encoding/json"
	"io"
	"net/http"
)

const maxKnobsBody = 64 << 10

func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mock/knobs", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.engine.Knobs())
	})
	mux.HandleFunc("PUT /mock/knobs", s.turn(func(Knobs) Knobs { return Knobs{} }))
	mux.HandleFunc("PATCH /mock/knobs", s.turn(func(k Knobs) Knobs { return k }))
	return mux
}

// turn reads knobs on top of base(those in force). It answers once they are in force, the listener's state included.
func (s *Server) turn(base func(Knobs) Knobs) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKnobsBody))
		if err != nil {
			http.Error(w, "knobs: "+err.Error(), http.StatusBadRequest)
			return
		}
		k, err := s.engine.board.update(func(k Knobs) (Knobs, error) {
			k = base(k)
			return k, json.Unmarshal(body, &k)
		})
		if err != nil {
			http.Error(w, "knobs: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.follow(); err != nil {
			http.Error(w, "knobs are set, but the engine cannot listen yet: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, http.StatusOK, k)
	}
}
