package haproxy

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"
)

// Backend is a section of HAProxy's configuration.
type Backend struct {
	Target  string   // that it stands for: dyn://…, or model/NAME
	Agent   string   // host:port of the agent, as HAProxy reaches it
	Servers []string // host:port of each
	Every   time.Duration
}

// Name returns what the section is called: of the target, what HAProxy takes in names.
func (b Backend) Name() string {
	name := strings.TrimPrefix(strings.TrimPrefix(b.Target, "dyn://"), "model/")
	return "dynmesh_" + regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(name, "_")
}

// String returns the section.
func (b Backend) String() string {
	host, port, err := net.SplitHostPort(b.Agent)
	if err != nil {
		host, port = b.Agent, "0"
	}
	every := fmt.Sprintf("%dms", b.Every.Milliseconds())
	var s strings.Builder
	fmt.Fprintf(&s, `backend %s
    # %s
    mode http
    balance leastconn

    # A connection that is refused, or that ends before a byte of the answer, is tried elsewhere. So is what a worker could not
    # ask its engine (502), and what was turned away (503). Not 500, which is an engine's own answer: a retry would hide it from
    # observe. A request that hangs is not tried again, for it may still be answered.
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response 502 503
    timeout connect 2s
    timeout queue 10s
    # The longest silence within an answer, a long prefill before its first byte.
    timeout server 10m

    # Each server's agent is dynmesh: down, drain and weight are its. HAProxy's own check sees a host that is gone before
    # anybody else, and observe what fails in between; a server needs both, so that neither overrules the other.
    # An agent that does not answer changes nothing, and only its up ends its down: what was down when dynmesh was killed stays
    # down until it is back, or until somebody says at HAProxy's socket: set server %s/SERVER agent up
    default-server check inter 2s fastinter 500ms fall 2 rise 1 observe layer7 error-limit 5 on-error fastinter on-marked-down shutdown-sessions
    default-server agent-check agent-inter %s agent-addr %s agent-port %s
`, b.Name(), b.Target, b.Name(), every, host, port)
	for n, server := range b.Servers {
		fmt.Fprintf(&s, "    server s%d %s agent-send \"%s %s\\n\"\n", n+1, server, server, b.Target)
	}
	return s.String()
}
