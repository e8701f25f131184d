package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Faults of the network between containers, made with iptables inside their network namespaces.
// They want root on the machine that the docker engine runs on.

// packetFaults says whether they can be made here, and if not, why.
func packetFaults(w *world) error {
	if _, ok := w.site.(*dockerSite); !ok {
		return fmt.Errorf("programs run as plain processes, which share one network")
	}
	return packetTools()
}

// packetTools says whether packets of containers can be dropped, and if not, why.
func packetTools() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("entering the network of a container takes root")
	}
	for _, tool := range []string{"nsenter", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	return nil
}

// needPacketFaults skips a scenario that cannot do without them, unless docker is required: then
// they are, too.
func needPacketFaults(t *testing.T, w *world) {
	t.Helper()
	err := packetFaults(w)
	switch {
	case err == nil:
	case os.Getenv("DYNMESH_E2E_DOCKER") == "require":
		t.Fatalf("this needs iptables in the networks of containers: %v", err)
	default:
		t.Skipf("left out, because it needs iptables in the networks of containers: %v", err)
	}
}

// iptables runs one command in the network namespace of a program.
func iptables(p program, args ...string) error {
	c, ok := p.(*dockerContainer)
	if !ok {
		return fmt.Errorf("%s is not a container", p.where().name)
	}
	pid, err := c.pid()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	command := append([]string{"--target", strconv.Itoa(pid), "--net", "iptables", "--wait", "5"}, args...)
	if out, err := exec.CommandContext(ctx, "nsenter", command...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s in %s: %w: %s", strings.Join(args, " "), p.where().name, err, out)
	}
	return nil
}

// parted is a network that has come apart: nothing passes between the two sides. Both still reach
// etcd, where they could before, and the test.
type parted struct{ left, right []program }

func (f parted) String() string {
	return fmt.Sprintf("network parted, %d programs from %d", len(f.left), len(f.right))
}

func (f parted) inject(w *world) { w.t.Helper(); f.each(w, "--append") }
func (f parted) heal(w *world)   { w.t.Helper(); f.each(w, "--delete") }

func (f parted) each(w *world, do string) {
	w.t.Helper()
	for _, sides := range [][2][]program{{f.left, f.right}, {f.right, f.left}} {
		for _, p := range sides[0] {
			for _, other := range sides[1] {
				w.must(f.String(), iptables(p, do, "INPUT", "--source", other.where().peer, "--jump", "DROP"))
			}
		}
	}
}

// lossy is a network that loses a part of all packets between these programs, each way: of what one
// of them asks another, (1-part)² is answered. What they have to say to etcd and to the test
// arrives.
type lossy struct {
	programs []program
	part     float64
}

func (f lossy) String() string {
	return fmt.Sprintf("%.0f %% of packets lost, each way, between %d programs", 100*f.part, len(f.programs))
}

func (f lossy) inject(w *world) { w.t.Helper(); f.each(w, "--append") }
func (f lossy) heal(w *world)   { w.t.Helper(); f.each(w, "--delete") }

func (f lossy) each(w *world, do string) {
	w.t.Helper()
	for _, p := range f.programs {
		for _, other := range f.programs {
			if other != p {
				w.must(f.String(), iptables(p, do, "INPUT", "--source", other.where().peer, "--match", "statistic",
					"--mode", "random", "--probability", fmt.Sprint(f.part), "--jump", "DROP"))
			}
		}
	}
}

// starved gives programs only so much of a CPU.
type starved struct {
	programs []program
	cpus     float64
}

func (f starved) String() string {
	return fmt.Sprintf("%d programs with %v of a CPU each", len(f.programs), f.cpus)
}

func (f starved) inject(w *world) { w.t.Helper(); f.quota(w, int64(100_000*f.cpus)) }
func (f starved) heal(w *world)   { w.t.Helper(); f.quota(w, -1) }

// quota sets how many microseconds of each 100 ms a program may run; -1: all.
func (f starved) quota(w *world, quota int64) {
	w.t.Helper()
	for _, p := range f.programs {
		c, ok := p.(*dockerContainer)
		if !ok {
			w.t.Fatalf("%s is not a container", p.where().name)
		}
		w.must(f.String(), c.do(func(ctx context.Context) error {
			_, err := c.engine.api.ContainerUpdate(ctx, c.name, client.ContainerUpdateOptions{
				Resources: &container.Resources{CPUPeriod: 100_000, CPUQuota: quota},
			})
			return err
		}))
	}
}
