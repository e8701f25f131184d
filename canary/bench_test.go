package canary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/dynmesh/dynmesh/canary/schedule"
)

// TestTenThousandIdleEndpoints says what a minute of ten thousand idle endpoints costs, on virtual
// time. It is one of the figures: it asserts nothing but that all of them are ready.
func TestTenThousandIdleEndpoints(t *testing.T) {
	if os.Getenv("DYNMESH_BENCH") == "" {
		t.Skip("DYNMESH_BENCH is not set")
	}
	synctest.Test(t, func(t *testing.T) {
		m, err := NewMonitor(Config{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 {
			if err := m.Serve(Endpoint{
				Name: fmt.Sprint(i), Probe: func(context.Context) error { return nil }, Activity: func() Activity { return Activity{} },
			}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var before, after syscall.Rusage
		var memory runtime.MemStats
		if err := errors.Join(syscall.Getrusage(syscall.RUSAGE_SELF, &before), m.Run(ctx), syscall.Getrusage(syscall.RUSAGE_SELF, &after)); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&memory)
		ready := 0
		for _, s := range m.Statuses() {
			if s.Ready {
				ready++
			}
		}
		if ready != 10_000 {
			t.Errorf("got %d ready endpoints, want 10000", ready)
		}
		t.Logf("CPU %v a minute, heap %d bytes an endpoint, schedule %d bytes",
			time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()),
			memory.HeapAlloc/10_000, unsafe.Sizeof(schedule.State{}))
	})
}
