package e2e

import (
	"fmt"
	"os"
	"testing"
)

// TestScenarios runs dynmesh as its users do and breaks what can break around it. The scenarios run
// side by side: they share the machine and nothing else.
func TestScenarios(t *testing.T) {
	if os.Getenv("DYNMESH_E2E") == "" {
		t.Skip("left out: real processes, real etcd and real faults take over a minute; run make e2e")
	}
	engine := chooseEngine(t)
	fmt.Println("e2e: scenarios run as", engine)
	for _, scenario := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"b etcd away, same disk", func(t *testing.T, w *world) { etcdAway(t, w, sameDisk) }},
		{"b etcd away, empty disk", func(t *testing.T, w *world) { etcdAway(t, w, emptyDisk) }},
		{"d a member frozen", memberFrozen},
		{"b etcd frozen", etcdFrozen},
		{"d leader lost", leaderLost},
		{"e compacted while cut off", compactedWhileCutOff},
		{"c worker killed or stopped", workerGone},
		{"f foreign values", foreignValues},
		{"g lease revoked", leaseRevoked},
		{"canaries decide", canaryDecides},
		{"engine: a long prefill", shortPrefill},
		{"engine: a long prefill, around the sidecar", shortPrefillAround},
		{"engine: a thousand requests a second", shortLoad},
		{"engine: late, away, back", shortAbsence},
		{"a two frontends, six instances", sixInstances},
		{"mesh: a worker killed", inShort(workerKilled)},
		{"mesh: a worker killed young", inShort(killedYoung)},
		{"mesh: a host vanishes", inShort(hostVanishes)},
		{"mesh: all restarted, then frozen", allRestartedThenFrozen},
		{"mesh: a rack fails", inShort(rackFails)},
		{"mesh: the network parts", inShort(networkParts)},
		{"mesh: a gossip port cut off", gossipPortCutOff},
		{"mesh: etcd away", inShort(registryAway)},
		{"mesh: packets lost", inShort(packetsLost)},
		{"mesh: processors starved", inShort(processorsStarved)},
		{"drill: faults are found, and one who does not see is found out", drills},
		{"page: what happens to workers", pageShows},
		{"oncall: nine of fourteen are missing", nineMissing},
		{"oncall: all say the same", allSaySame},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			scenario.run(t, newWorld(t, engine))
		})
	}
}

func chooseEngine(t *testing.T) engine {
	t.Helper()
	etcdImage := os.Getenv("DYNMESH_E2E_ETCD_IMAGE")
	wish := os.Getenv("DYNMESH_E2E_DOCKER")
	switch wish {
	case "", "require", "off":
	default:
		t.Fatalf("DYNMESH_E2E_DOCKER %q: want require, off or nothing", wish)
	}
	why := "DYNMESH_E2E_DOCKER is off"
	if wish != "off" {
		docker, err := dialDocker(t)
		if err == nil {
			if err := docker.sweepLeftovers(); err != nil {
				t.Logf("what earlier runs left behind is still there: %v", err)
			}
			docker.prepare(t, compile(t, etcdImage == ""), etcdImage)
			return docker
		}
		if wish == "require" {
			t.Fatalf("DYNMESH_E2E_DOCKER is require, and no docker engine answers: %v", err)
		}
		why = fmt.Sprintf("no docker engine answers (%v)", err)
	}
	if etcdImage != "" {
		why += "; DYNMESH_E2E_ETCD_IMAGE is not used"
	}
	return newProcessEngine(compile(t, true), why)
}
