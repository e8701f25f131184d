package mocker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dynmesh/dynmesh/internal/parse"
)

// wireKnobs is Knobs as JSON.
type wireKnobs struct {
	FirstTokenDelay string  `json:"first_token_delay"`
	TokenDelay      string  `json:"token_delay"`
	Tokens          int     `json:"tokens"`
	MaxSequences    int     `json:"max_sequences"`
	Prefill         string  `json:"prefill"`
	Slow            float64 `json:"slow"`
	ErrorStatus     int     `json:"error_status"`
	ErrorChunk      *int    `json:"error_chunk"`
	Freeze          *int    `json:"freeze"`
	Drop            *int    `json:"drop"`
	Refuse          bool    `json:"refuse"`
	Empty           bool    `json:"empty"`
	Wrong           float64 `json:"wrong"`
	Repeat          *int    `json:"repeat"`
	IdleGauges      bool    `json:"idle_gauges"`
	Ranks           int     `json:"ranks"`
	DeadRank        *int    `json:"dead_rank"`
	EngineID        string  `json:"engine_id"`
	BrokenPair      string  `json:"broken_pair"`
}

func (k Knobs) wire() wireKnobs {
	return wireKnobs{
		FirstTokenDelay: k.FirstTokenDelay.String(),
		TokenDelay:      k.TokenDelay.String(),
		Tokens:          k.Tokens,
		MaxSequences:    k.MaxSequences,
		Prefill:         k.Prefill.String(),
		Slow:            k.Slow,
		ErrorStatus:     k.ErrorStatus,
		ErrorChunk:      k.ErrorChunk,
		Freeze:          k.Freeze,
		Drop:            k.Drop,
		Refuse:          k.Refuse,
		Empty:           k.Empty,
		Wrong:           k.Wrong,
		Repeat:          k.Repeat,
		IdleGauges:      k.IdleGauges,
		Ranks:           k.Ranks,
		DeadRank:        k.DeadRank,
		EngineID:        k.EngineID,
		BrokenPair:      k.BrokenPair,
	}
}

// MarshalJSON writes the knobs with durations as strings.
func (k Knobs) MarshalJSON() ([]byte, error) { return json.Marshal(k.wire()) }

// UnmarshalJSON reads what MarshalJSON writes. Fields that are missing keep the value they have;
// unknown fields are refused, because a misspelt fault that silently does nothing would make a test
// pass for no reason.
func (k *Knobs) UnmarshalJSON(b []byte) error {
	if trimmed := bytes.TrimSpace(b); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("want a JSON object")
	}
	w := k.clone().wire()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return parse.JSONError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	read := Knobs{
		Tokens:       w.Tokens,
		MaxSequences: w.MaxSequences,
		ErrorStatus:  w.ErrorStatus,
		ErrorChunk:   w.ErrorChunk,
		Freeze:       w.Freeze,
		Drop:         w.Drop,
		Refuse:       w.Refuse,
		Empty:        w.Empty,
		Slow:         w.Slow,
		Wrong:        w.Wrong,
		Repeat:       w.Repeat,
		IdleGauges:   w.IdleGauges,
		Ranks:        w.Ranks,
		DeadRank:     w.DeadRank,
		EngineID:     w.EngineID,
		BrokenPair:   w.BrokenPair,
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{
		{"first_token_delay", w.FirstTokenDelay, &read.FirstTokenDelay},
		{"token_delay", w.TokenDelay, &read.TokenDelay},
		{"prefill", w.Prefill, &read.Prefill},
	} {
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return fmt.Errorf("%s is %q: want a duration such as \"150ms\"", d.name, d.text)
		}
	}
	*k = read
	return nil
}
