package kubernetes_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/frontend/output/kubernetes"
)

// What serves a Service is named behind it.
func ExampleCheckService() {
	for _, s := range []string{"prod/llm=dyn://dynamo.backend.generate", "llm:http=model/llama-70b", "llm=llama-70b"} {
		fmt.Println(kubernetes.CheckService(s))
	}
	// Output:
	// <nil>
	// <nil>
	// "llm=llama-70b": want namespace/service=dyn://namespace.component.endpoint, or =model/NAME; the namespace may be left out, and service:port names one of several ports
}
