// Package haproxy is the output for HAProxy: an agent that answers its agent-checks, and the
// section of HAProxy's configuration that asks it. It is for the command.
//
// # The protocol
//
// HAProxy connects for each server every agent-inter, sends what agent-send says, and reads a line.
// What is sent is a line, too:
//
//	10.0.0.7:8000                            a server by its address, in whatever endpoint it serves
//	694d9b90ff8deb4b                         a server by the ID of its instance
//	10.0.0.7:8000 model/llama-70b            a server in one target: an endpoint, dyn://…, or a model
//
// and so is the answer:
//
//	up ready 100%                            in
//	up ready 50%                             degraded
//	up drain                                 draining
//	down #its worker's canaries have failed  out
//	(nothing)                                nothing is decided yet, or there is no such server
//
// HAProxy changes nothing where it gets no answer. So what it was told stands when dynmesh is gone,
// and a server that is down stays down: only an agent's up ends an agent's down, whatever HAProxy's
// own checks find (haproxy/haproxy#2039). An agent that stops in order therefore answers up ready
// for all first, until each server that it had withdrawn has asked once more, for 3 s at most.
package haproxy
