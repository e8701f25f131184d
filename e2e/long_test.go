package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestLongScenarios runs what takes minutes because it keeps the default times. Each has a short
// form in TestScenarios.
func TestLongScenarios(t *testing.T) {
	if os.Getenv("DYNMESH_E2E_LONG") == "" {
		t.Skip("left out: the default times take minutes; run make e2e-long")
	}
	engine := chooseEngine(t)
	fmt.Println("e2e: long scenarios run as", engine)
	defaults := pace{wait: 10 * time.Second, stall: 2 * time.Minute, prefill: time.Minute}
	for _, scenario := range []struct { // these measure, so they have the machine to themselves
		name string
		run  func(t *testing.T, w *world, full bool)
	}{
		{"mesh: a worker killed", workerKilled},
		{"mesh: a worker killed young", killedYoung},
		{"mesh: a host vanishes", hostVanishes},
		{"mesh: a rack fails", rackFails},
	} {
		t.Run(scenario.name, func(t *testing.T) { scenario.run(t, newWorld(t, engine), true) })
	}
	for _, scenario := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"mesh: the network parts", inFull(networkParts)},
		{"mesh: etcd away", inFull(registryAway)},
		{"mesh: packets lost", inFull(packetsLost)},
		{"mesh: processors starved", inFull(processorsStarved)},
		{"a minute of prefill", func(t *testing.T, w *world) { prefillBlocks(t, w, defaults, false) }},
		{"a minute of prefill, around the sidecar", func(t *testing.T, w *world) { prefillBlocks(t, w, defaults, true) }},
		{"a minute of requests", func(t *testing.T, w *world) { busyWorker(t, w, 10*time.Second, time.Minute) }},
		{"an engine half a minute late", func(t *testing.T, w *world) { engineComesAndGoes(t, w, 10*time.Second, 30*time.Second) }},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			scenario.run(t, newWorld(t, engine))
		})
	}
}

// The short forms, for TestScenarios.

func shortPrefill(t *testing.T, w *world) {
	prefillBlocks(t, w, pace{wait: 2 * time.Second, stall: 16 * time.Second, prefill: 8 * time.Second}, false)
}

func shortPrefillAround(t *testing.T, w *world) {
	prefillBlocks(t, w, pace{wait: 3 * time.Second, stall: 16 * time.Second, prefill: 8 * time.Second}, true)
}

func shortLoad(t *testing.T, w *world)    { busyWorker(t, w, 2*time.Second, 6*time.Second) }
func shortAbsence(t *testing.T, w *world) { engineComesAndGoes(t, w, 2*time.Second, 5*time.Second) }
