// Package proxy is a transparent proxy in front of one inference engine, which it watches while it
// passes on what there is: any path, any method, headers both ways, bodies byte for byte, streams
// at once, upgrades. A client may use the proxy's address as it would the engine's.
//
// It is for a worker that puts an engine behind its request server. Whether the engine is ready is
// for canaries to say; the proxy only counts.
//
//	| proxy.go   | where a request goes, and what is answered where the engine cannot be reached |
//	| engine.go  | connections to the engine, and what may be sent on them again                 |
//	| client.go  | clients that leave                                                            |
//	| answer.go  | one request on its way: its outcome, its times                                |
//	| stream.go  | reads events and documents as they pass, without memory of its own             |
//	| json.go    | the fields in them that matter                                                |
//	| routes.go  | which requests make the engine work                                           |
//	| metrics.go | histograms, in OpenTelemetry's names where it has them                        |
package proxy
