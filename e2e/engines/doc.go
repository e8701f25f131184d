// Package engines tries dynmesh on real inference engines and beside a real Dynamo, with models of
// random weights that it makes itself. It holds tests only.
//
// DYNMESH_ENGINES names what to try: dynamo, proof, steered, envoy, llama, vllm, pair, with commas
// between them. Engines and clients come from PyPI and npm, in the versions that testdata pins
// (package install). What cannot be had here is left out, and a line with LEFT OUT says so. Models
// come from package model.
//
//	| fleet_test.go       | an etcd, a frontend, sidecars                                    |
//	| engine_test.go      | an engine, which can be broken and started again                 |
//	| watch_test.go       | what engine, worker and frontend say, and when they said it      |
//	| load_test.go        | clients                                                          |
//	| fault_test.go       | what is broken, and by when that must be known                   |
//	| alike_test.go       | the same answer with the worker before the engine and without it |
//	| wire_test.go        | what a worker and an engine say to each other                    |
//	| kinds_test.go       | what a canary asks for                                           |
//	| clients_test.go     | OpenAI's own clients                                             |
//	| dynamo_test.go      | dynmesh beside a Dynamo                                          |
//	| envoy_test.go       | an Envoy that a frontend steers                                  |
//	| llama_test.go       | llama.cpp                                                        |
//	| vllm_test.go        | vLLM                                                             |
//	| pair_test.go        | two of vLLM: one prefills, one decodes                           |
package engines
