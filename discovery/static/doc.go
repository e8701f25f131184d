// Package static lists what a YAML file says: for fleets that neither Dynamo nor Kubernetes knows.
// Programs that have such a file make a [Source] with [New].
//
//	# list.yaml
//	- endpoint: prod.vllm.generate            # namespace.component.endpoint
//	  addresses:
//	    - http://10.0.0.7:8000
//	    - 10.0.0.8:8000                       # http
//	    - tcp://10.0.0.9:9000                 # no HTTP: watched by its connection
//	    - {address: "10.0.0.10:8000", id: 2a} # in hex; else it follows from host and port
//
// Host and port name a worker: its endpoints share an ID. What is listed stays listed until the
// file says otherwise; whether it works is for probes and canaries to find out.
//
// The file is read again when it changes. One that cannot be used changes nothing: the registry is
// stale then, and what is wrong with which line is said in the log and among what is left out.
package static
