package haproxy_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/frontend/output/haproxy"
)

func ExampleBackend() {
	b := haproxy.Backend{
		Target: "model/llama-70b", Agent: "dynmesh:8009", Every: 500 * time.Millisecond, Servers: []string{"10.0.0.7:8000", "10.0.0.8:8000"},
	}
	for line := range strings.Lines(b.String()) {
		if fields := strings.Fields(line); len(fields) > 0 && (fields[0] == "server" || fields[0] == "backend") {
			fmt.Print(line)
		}
	}
	// Output:
	// backend dynmesh_llama-70b
	//     server s1 10.0.0.7:8000 agent-send "10.0.0.7:8000 model/llama-70b\n"
	//     server s2 10.0.0.8:8000 agent-send "10.0.0.8:8000 model/llama-70b\n"
}
