package sse_test

import (
	"fmt"
	"strings"

	"github.com/dynmesh/dynmesh/internal/sse"
)

// An engine's stream, with a comment, a field that the standard does not know, and no end to its
// last event.
func Example() {
	stream := ": ping\n\ntrace: 1\ndata: {\"text\":\"a\"}\n\nevent: error\ndata: no\n\ndata: [DONE]"
	events := sse.NewEvents(strings.NewReader(stream), 1<<20, 0)
	for {
		name, data, err := events.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q %s\n", name, data)
	}
	// Output:
	// "" {"text":"a"}
	// "error" no
	// "" [DONE]
	// EOF
}
