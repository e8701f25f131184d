package discovery_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func ExampleDecodeInstance() {
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 7}
	for _, value := range []string{
		`{"namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":7,"transport":{"http":"http://10.0.0.7:8888"}}`,
		`{"namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":8,"transport":{"http":"http://10.0.0.7:8888"}}`,
	} {
		instance, err := discovery.DecodeInstance(key, []byte(value))
		fmt.Println(string(instance.Transport), err)
	}
	// Output:
	// {"http":"http://10.0.0.7:8888"} <nil>
	//  instance_id is 8 (hex 8), its key says 7
}
