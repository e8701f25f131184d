package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/output/haproxy"
)

// haproxyOutput is the agent for HAProxy.
type haproxyOutput struct{ addr string }

func (o *haproxyOutput) register(flags *pflag.FlagSet) {
	register(flags, setting{"haproxy-agent", "DYN_HAPROXY_AGENT", &stringValue{&o.addr, hostPort}, "host:port at which HAProxy's agent-checks are answered (dynmesh haproxy-config prints what asks it); a stopping frontend gives all servers back, a killed one leaves down those that are"})
}

func (o *haproxyOutput) open(log *logrus.Entry) (output.Output, error) {
	if o.addr == "" {
		return nil, nil
	}
	a, err := haproxy.New(haproxy.Config{Addr: o.addr, Log: log})
	if err != nil {
		return nil, withSetting(err)
	}
	return a, nil
}

func newHAProxyConfigCommand() *cobra.Command {
	var ask askOptions
	agent, target, every := "127.0.0.1:8009", "", 500*time.Millisecond
	cmd := &cobra.Command{
		Use:   "haproxy-config",
		Short: "Print a backend section for HAProxy that follows dynmesh",
		Long: `haproxy-config asks a frontend who serves an endpoint or a model, and prints a backend section of HAProxy's configuration with
these servers, each of which asks the frontend's agent (dynmesh frontend --haproxy-agent) who is in: agent-check, agent-send, retries,
timeouts and HAProxy's own checks beside it, with the reasons in comments.

The list is of now. Where workers come and go at new addresses, have "dynmesh watch" write it anew and reload HAProxy.

What happens without dynmesh: HAProxy takes no answer for no change. A frontend that stops in order has it take all servers back
first. After one that is killed, servers that were down stay down until an agent answers again; "set server BACKEND/SERVER agent up"
at HAProxy's socket ends that by hand. What is in stays in, and HAProxy's own checks go on.

The agent's up ends what was said at HAProxy's socket, maintenance included: "disable agent BACKEND/SERVER" first.`,
		Example: `  dynmesh haproxy-config --agent dynmesh:8009 --target dyn://dynamo.backend.generate
  dynmesh haproxy-config --agent dynmesh:8009 --target model/llama-70b`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			mesh, err := c.Mesh(cmd.Context())
			if err != nil {
				return err // exit code 2
			}
			servers, err := serversOf(mesh, target)
			if err != nil {
				return err
			}
			b := haproxy.Backend{Target: target, Agent: agent, Servers: servers, Every: every}
			_, err = fmt.Fprint(cmd.OutOrStdout(), b)
			return runFailure(err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags,
		setting{"target", "DYN_HAPROXY_TARGET", &stringValue{&target, outputTarget}, "the endpoint, dyn://namespace.component.endpoint, or model/NAME"},
		setting{"agent", "DYN_HAPROXY_AGENT_ADDRESS", &stringValue{&agent, hostPort}, "host:port of the frontend's agent, as HAProxy reaches it"},
		setting{"every", "DYN_HAPROXY_EVERY", &secondsValue{target: &every}, "how often HAProxy asks"},
	)
	return cmd
}

// outputTarget accepts the name of what outputs tell of.
func outputTarget(s string) error {
	model, is := strings.CutPrefix(s, output.ModelTarget(""))
	if !strings.HasPrefix(s, "dyn://") && (!is || model == "") || strings.ContainsAny(s, " \t\r\n\"\\#") {
		return errors.New("want dyn://namespace.component.endpoint or model/NAME")
	}
	return nil
}

// serversOf returns the addresses at which HTTP is spoken for a target.
func serversOf(m *client.Mesh, target string) ([]string, error) {
	if target == "" {
		return nil, errors.New("--target is missing: want dyn://namespace.component.endpoint or model/NAME")
	}
	var all []string
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			serves := e.Name == target
			for _, model := range i.Models {
				serves = serves || output.ModelTarget(model.Name) == target
			}
			if addr, scheme := fleet.Address(string(i.Transport)); serves && i.Registered && scheme == "http" {
				all = append(all, addr)
			}
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 0 {
		return nil, fmt.Errorf("%s has no server that is registered at an address of its own and speaks HTTP", target)
	}
	return all, nil
}
