package e2e

import (
	"fmt"
	"syscall"
	"time"
)

// A fault is something that goes wrong and can be made right.
type fault interface {
	String() string
	inject(w *world)
	heal(w *world)
}

// during runs while with the fault in the world, and returns once it is healed.
func (w *world) during(f fault, while func()) {
	w.t.Helper()
	began := time.Now()
	f.inject(w)
	w.t.Logf("fault: %v", f)
	while()
	f.heal(w)
	w.t.Logf("healed after %v: %v", millis(time.Since(began)), f)
}

// etcdStopped is an etcd server that is gone for a while.
type etcdStopped struct {
	server program
	by     syscall.Signal
	disk   disk // what it finds when it comes back
}

func (f etcdStopped) String() string {
	return fmt.Sprintf("%s stopped by %v, back on %v", f.server.where().name, f.by, f.disk)
}

func (f etcdStopped) inject(w *world) { w.t.Helper(); w.kill(f.server, f.by) }
func (f etcdStopped) heal(w *world)   { w.t.Helper(); w.must(f.String(), f.server.start(f.disk)) }

// cutOff is a program that cannot reach etcd, and is not told.
type cutOff struct{ program program }

func (f cutOff) String() string  { return f.program.where().name + " cut off from etcd" }
func (f cutOff) inject(w *world) { w.t.Helper(); w.must(f.String(), f.program.cutOff()) }
func (f cutOff) heal(w *world)   { w.t.Helper(); w.must(f.String(), f.program.reconnect()) }

// frozen is a program that keeps its connections and answers nothing, as a host does that swaps or
// whose hypervisor holds it. By a signal, in a container, too: its freezer gives up where the
// processors are busy.
type frozen struct{ program program }

func (f frozen) String() string  { return f.program.where().name + " frozen" }
func (f frozen) inject(w *world) { w.t.Helper(); w.must(f.String(), f.program.signal(syscall.SIGSTOP)) }
func (f frozen) heal(w *world)   { w.t.Helper(); w.must(f.String(), f.program.signal(syscall.SIGCONT)) }
