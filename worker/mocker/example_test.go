package mocker_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dynmesh/dynmesh/worker/mocker"
)

// A test breaks a healthy engine, and mends it again.
func Example() {
	engine, err := mocker.New(mocker.Config{Model: "llama", Knobs: mocker.Knobs{Tokens: 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func() {
		chunks := 0
		err := engine.Generate(context.Background(), json.RawMessage(`{"prompt":"who is there?"}`), func(any) error {
			chunks++
			return nil
		})
		fmt.Println(chunks, "chunks, error:", err)
	}
	ask()
	if err := engine.SetKnobs(mocker.Knobs{ErrorStatus: 503}); err != nil {
		fmt.Println(err)
	}
	ask()
	if err := engine.SetKnobs(mocker.Knobs{Tokens: 3}); err != nil {
		fmt.Println(err)
	}
	ask()
	// Output:
	// 3 chunks, error: <nil>
	// 0 chunks, error: engine: 503 InternalServerError: the mock engine was told to fail
	// 3 chunks, error: <nil>
}
