package otlp_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/otlp"
)

func Example() {
	at := mesh.Time{Time: time.Date(2026, 11, 28, 3, 12, 0, 0, time.UTC)}
	fmt.Print(string(otlp.Append(nil, "v1", []mesh.Transition{{
		At: at, Endpoint: "dyn://dynamo.backend.generate", ID: 0x694d, From: "ready", To: "unreachable",
		Instance: []byte(`{"id":"694d","verdict":"unreachable","reasons":["gossip declared its worker dead"],"worker":{"host":"gpu-007"}}`),
	}})))
	// Output:
	// {"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"dynmesh"}},{"key":"service.version","value":{"stringValue":"v1"}}]},"scopeLogs":[{"scope":{"name":"github.com/dynmesh/dynmesh","version":"v1"},"logRecords":[{"timeUnixNano":"1795835520000000000","observedTimeUnixNano":"1795835520000000000","severityNumber":13,"severityText":"WARN","eventName":"dynmesh.verdict.changed","body":{"stringValue":"gossip declared its worker dead"},"attributes":[{"key":"dynmesh.endpoint","value":{"stringValue":"dyn://dynamo.backend.generate"}},{"key":"dynmesh.instance.id","value":{"stringValue":"694d"}},{"key":"dynmesh.verdict.from","value":{"stringValue":"ready"}},{"key":"dynmesh.verdict","value":{"stringValue":"unreachable"}},{"key":"dynmesh.reasons","value":{"stringValue":"gossip declared its worker dead"}},{"key":"dynmesh.verified","value":{"boolValue":false}},{"key":"host.name","value":{"stringValue":"gpu-007"}}]}]}]}]}
}
