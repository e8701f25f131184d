package kubernetes_test

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/kubernetes"
)

// Follows Dynamo's workers and the pods behind one Service, from within a pod. It needs a cluster,
// and is only compiled here.
func Example() {
	source, err := kubernetes.New(kubernetes.Config{Services: []string{"app=vllm:http"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = source.Run(context.Background(), func(u dynmesh.RegistryUpdate) {
		for _, i := range u.Puts {
			fmt.Println(u.State, i.Endpoint, i.Pod.Name, string(i.Transport))
		}
	})
	fmt.Println(err)
}
