package answers_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	sample "github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/frontend/answers"
)

func Example() {
	table := answers.NewTable()
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	remarks := map[dynmesh.InstanceID]string{}
	for round := range 12 {
		for id := dynmesh.InstanceID(1); id <= 8; id++ {
			s := sample.Sample{Prompt: uint8(round % len(sample.Prompts())), Tokens: []byte("Paris"), Logprob: sample.NoLogprob}
			if id == 3 {
				s.Tokens = []byte("Party")
			}
			key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: id}
			table.Take(key, "llama", dynmesh.Observation{Report: dynmesh.Report{Kind: dynmesh.KindMeasure, Sample: s.Encode()}}, now)
			for key, text := range table.Conclude(now) {
				remarks[key.ID] = text
			}
		}
		now = now.Add(20 * time.Second)
	}
	for id, text := range remarks {
		fmt.Println(id, text)
	}
	// Output: 3 suspect: answers differ from 7 of 7 peers since 2026-11-28T10:00:00.000Z, first at token 4
}
