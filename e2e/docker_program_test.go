package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// engineTimeout bounds one call of the docker engine, which takes half a minute where many others
// have it start and remove containers.
const engineTimeout = 2 * time.Minute

// dockerSite has two networks: on one, programs meet etcd and each other; on the other the test
// talks to them. So a program that is cut off from etcd can still be asked what it thinks.
type dockerSite struct {
	t        *testing.T
	engine   *dockerEngine
	registry *dockerNetwork
	front    *dockerNetwork
}

func (e *dockerEngine) newSite(t *testing.T) site {
	return &dockerSite{t: t, engine: e, registry: e.newNetwork(t, "registry"), front: e.newNetwork(t, "front")}
}

func (s *dockerSite) reserve(name string, ports ...port) *place {
	p := &place{
		name: name, bind: "0.0.0.0", ports: map[string]int{},
		host: s.front.address().String(), peer: s.registry.address().String(),
	}
	for _, port := range ports {
		p.ports[port.name] = port.number
	}
	return p
}

func (s *dockerSite) launch(spec spec) (program, error) {
	c := &dockerContainer{
		engine: s.engine, spec: spec, registry: s.registry, front: s.front,
		name: s.engine.containerName(s.t, spec.place.name),
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
		defer cancel()
		if err := s.engine.removeContainer(ctx, c.name); err != nil {
			s.t.Errorf("remove container %s: %v", c.name, err)
		}
	})
	return c, errors.Join(c.create(), c.start(sameDisk))
}

// dockerContainer is one program. Its disk is the container's own layer, which a stop keeps and a
// removal does not.
type dockerContainer struct {
	engine          *dockerEngine
	spec            spec
	name            string
	registry, front *dockerNetwork
	earlier         string // logs of containers that stood here before
}

func (c *dockerContainer) where() *place { return c.spec.place }

func (c *dockerContainer) do(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	return call(ctx)
}

func (c *dockerContainer) create() error {
	image, executable := c.engine.images.of(c.spec.binary)
	env := maps.Clone(c.spec.env)
	if len(c.spec.etcd) > 0 {
		env["ETCD_ENDPOINTS"] = "http://" + strings.Join(c.spec.etcd, ",http://")
	}
	config := &container.Config{
		Image: image, Hostname: c.spec.place.name, Labels: c.engine.labels(),
		Entrypoint: []string{executable}, Cmd: c.spec.args, WorkingDir: "/data",
	}
	for name, value := range env {
		config.Env = append(config.Env, name+"="+value)
	}
	return c.do(func(ctx context.Context) error {
		// API 1.41 takes one network here, and this one is never cut.
		_, err := c.engine.api.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: c.name, Config: config, HostConfig: &container.HostConfig{},
			NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
				c.front.name: endpointAt(netip.MustParseAddr(c.spec.place.host)),
			}},
		})
		if err != nil {
			return err
		}
		return c.join(ctx)
	})
}

func (c *dockerContainer) join(ctx context.Context) error {
	_, err := c.engine.api.NetworkConnect(ctx, c.registry.id, client.NetworkConnectOptions{
		Container: c.name, EndpointConfig: endpointAt(netip.MustParseAddr(c.spec.place.peer)),
	})
	return err
}

func (c *dockerContainer) reconnect() error {
	if packetTools() == nil {
		_ = c.dropToRegistry("--delete") // where the container was started since, the rule has gone with its network
	}
	return c.do(c.join)
}

// cutOff takes the container from the network, and has it drop what still goes there: the engine
// keeps networks apart by rules of the host, which are not there for a moment when it makes another
// network, and one moment is enough to read all of etcd.
func (c *dockerContainer) cutOff() error {
	if packetTools() == nil {
		if err := c.dropToRegistry("--append"); err != nil {
			return err
		}
	}
	return c.do(func(ctx context.Context) error {
		_, err := c.engine.api.NetworkDisconnect(ctx, c.registry.id, client.NetworkDisconnectOptions{Container: c.name})
		return err
	})
}

func (c *dockerContainer) dropToRegistry(do string) error {
	return iptables(c, do, "OUTPUT", "--destination", c.registry.subnet.String(), "--jump", "DROP")
}

func (c *dockerContainer) start(disk disk) error {
	if disk == emptyDisk {
		log, err := c.logs()
		if err != nil {
			return err
		}
		c.earlier = log
		err = c.do(func(ctx context.Context) error { return c.engine.removeContainer(ctx, c.name) })
		if err = errors.Join(err, c.create()); err != nil {
			return err
		}
	}
	return c.do(func(ctx context.Context) error {
		_, err := c.engine.api.ContainerStart(ctx, c.name, client.ContainerStartOptions{})
		return err
	})
}

func (c *dockerContainer) pid() (pid int, err error) {
	err = c.do(func(ctx context.Context) error {
		answer, err := c.engine.api.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
		if err == nil {
			pid = answer.Container.State.Pid
		}
		return err
	})
	return pid, err
}

func (c *dockerContainer) signal(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v has no number", sig)
	}
	return c.do(func(ctx context.Context) error {
		_, err := c.engine.api.ContainerKill(ctx, c.name, client.ContainerKillOptions{Signal: fmt.Sprint(int(number))})
		return err
	})
}

func (c *dockerContainer) state() (s state, err error) {
	err = c.do(func(ctx context.Context) error {
		answer, err := c.engine.api.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		in := answer.Container.State
		s.running, s.exitCode = in.Running, in.ExitCode
		s.life = fmt.Sprintf("container %.12s started at %s, %d restarts", answer.Container.ID, in.StartedAt, answer.Container.RestartCount)
		return nil
	})
	return s, err
}

func (c *dockerContainer) logs() (string, error) {
	var text bytes.Buffer
	err := c.do(func(ctx context.Context) error {
		stream, err := c.engine.api.ContainerLogs(ctx, c.name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return err
		}
		defer stream.Close()
		_, err = stdcopy.StdCopy(&text, &text, stream)
		return err
	})
	return c.earlier + text.String(), err
}
