package sourcetest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
)

// faultVariable names the fault that the memory source has in this process; empty: none.
const faultVariable = "DYNMESH_SOURCETEST_FAULT"

// A source without any registry behind it passes, and is the shortest example of one.
func TestMemory(t *testing.T) {
	fault, within := os.Getenv(faultVariable), 10*time.Second
	if fault != "" {
		within = time.Second // it is to fail
	}
	sourcetest.Test(t, func(t *testing.T) sourcetest.Registry {
		m := &memory{
			fault:     fault,
			instances: make(map[dynmesh.InstanceKey]entry), members: make(map[dynmesh.InstanceID]memberEntry),
			revision: 1, wakeup: make(chan struct{}, 1), rejects: &dynmesh.Rejects{},
		}
		return sourcetest.Registry{
			Source: m,
			Put: func(all ...dynmesh.Instance) {
				m.change(func() {
					for _, i := range all {
						m.instances[i.InstanceKey] = entry{i, m.revision, true}
					}
				})
			},
			Delete: func(keys ...dynmesh.InstanceKey) {
				m.change(func() {
					for _, key := range keys {
						delete(m.instances, key)
					}
				})
			},
			Spoil: func(key dynmesh.InstanceKey) {
				m.change(func() { m.instances[key] = entry{dynmesh.Instance{InstanceKey: key}, m.revision, false} })
			},
			PutMember: func(member dynmesh.RegisteredMember) {
				m.change(func() { m.members[member.ID] = memberEntry{member, m.revision, true} })
			},
			DeleteMember: func(id dynmesh.InstanceID) { m.change(func() { delete(m.members, id) }) },
			SpoilMember: func(id dynmesh.InstanceID) {
				m.change(func() { m.members[id] = memberEntry{dynmesh.RegisteredMember{ID: id}, m.revision, false} })
			},
			Cut:       func() { m.change(func() { m.cut = true }) },
			Heal:      func() { m.change(func() { m.cut = false }) },
			Interrupt: func() { m.change(func() {}) },
			Compact:   func() {},
			Within:    within,
		}
	})
}

// Each clause of the contract is worth its test: a source that breaks it fails there.
func TestSuiteFindsFaults(t *testing.T) {
	for fault, subtest := range map[string]string{
		"says nothing of an empty registry": "an_empty_registry_is_synced",
		"full set in two halves":            "the_full_set_comes_first_and_whole",
		"never deletes":                     "add,_change,_remove",
		"misses changes of what it has":     "add,_change,_remove",
		"deletes twice":                     "add,_change,_remove",
		"junk stays what it was":            "junk_is_left_out_and_said",
		"rejects with long texts":           "junk_is_left_out_and_said",
		"members come before they are read": "members",
		"members never go":                  "members",
		"sends everything again":            "an_interruption_is_no_change",
		"stale before the first read":       "away_at_the_start",
		"empty while away":                  "away_and_back",
		"never stale":                       "away_and_back",
		"stale since a time to come":        "away_and_back",
		"drops updates of slow consumers":   "a_slow_consumer_misses_nothing",
		"updates after its end":             "it_ends_with_its_context",
		"returns the context's error":       "it_ends_with_its_context",
		"runs twice":                        "it_runs_once",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMemory$/^"+subtest+"$", "-test.v")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault)
			out, err := cmd.CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "--- FAIL: TestMemory/"+subtest) {
				t.Errorf("the suite passes a source that: %s (%v)\n%s", fault, err, out)
			}
		})
	}
}

// memory is a registry in memory, and a source that compares all of it after each change.
type memory struct {
	fault string
	ran   atomic.Bool

	mu        sync.Mutex
	instances map[dynmesh.InstanceKey]entry
	members   map[dynmesh.InstanceID]memberEntry
	revision  int64
	cut       bool
	wakeup    chan struct{}

	rejects *dynmesh.Rejects // Run's
}

type entry struct {
	dynmesh.Instance
	revision int64
	valid    bool
}

type memberEntry struct {
	dynmesh.RegisteredMember
	revision int64
	valid    bool
}

// change makes one change of the registry.
func (m *memory) change(what func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	what()
	select {
	case m.wakeup <- struct{}{}:
	default:
	}
}

func (m *memory) Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error {
	if m.ran.Swap(true) && m.fault != "runs twice" {
		return errors.New("memory: Run called twice")
	}
	if m.fault == "updates after its end" {
		defer func() { go up(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now()}) }()
	}
	send := func(u dynmesh.RegistryUpdate) { up(u) }
	if m.fault == "drops updates of slow consumers" {
		var busy atomic.Bool
		var sending sync.WaitGroup
		defer sending.Wait()
		send = func(u dynmesh.RegistryUpdate) {
			if busy.Swap(true) {
				return
			}
			sending.Go(func() { defer busy.Store(false); up(u) })
		}
	}
	known, members := make(map[dynmesh.InstanceKey]entry), make(map[dynmesh.InstanceID]memberEntry)
	u := dynmesh.RegistryUpdate{State: dynmesh.Syncing, Since: time.Now()}
	for {
		m.mu.Lock()
		next, changed := m.next(u, known, members)
		m.mu.Unlock()
		if changed {
			u = next
			if n := len(u.Puts); m.fault == "full set in two halves" && n > 1 {
				half := u
				half.Puts, u.Puts = u.Puts[:n/2], u.Puts[n/2:]
				send(half)
			}
			send(u)
		}
		select {
		case <-ctx.Done():
			if m.fault == "returns the context's error" {
				return ctx.Err()
			}
			return nil
		case <-m.wakeup:
		}
	}
}

// next compares the registry with what was known of it.
func (m *memory) next(
	last dynmesh.RegistryUpdate, known map[dynmesh.InstanceKey]entry, members map[dynmesh.InstanceID]memberEntry,
) (u dynmesh.RegistryUpdate, changed bool) {
	u = dynmesh.RegistryUpdate{State: last.State, Since: last.Since, Revision: last.Revision, MembersRead: last.MembersRead}
	if m.cut {
		if m.fault == "never stale" || u.State != dynmesh.Synced && m.fault != "stale before the first read" {
			return u, false
		}
		u.State, u.Since = dynmesh.Stale, time.Now()
		switch m.fault {
		case "stale since a time to come":
			u.Since = time.Now().Add(time.Minute)
		case "empty while away":
			u.Deletes = slices.Collect(maps.Keys(known))
			clear(known)
		}
		return u, true
	}
	if u.State != dynmesh.Synced {
		u.State, u.Since = dynmesh.Synced, time.Now()
		changed = true
	}
	u.Revision = m.revision
	u.MembersRead = m.fault != "members come before they are read"
	if len(m.instances) == 0 && m.fault == "says nothing of an empty registry" {
		return last, false
	}

	rejects := &dynmesh.Rejects{}
	reject := func(key string) {
		detail := "it is junk"
		if m.fault == "rejects with long texts" {
			detail = strings.Repeat("junk\n", 1000)
		}
		rejects.Total++
		rejects.Entries = append(rejects.Entries, dynmesh.Rejected{Key: key, Reason: dynmesh.RejectJSON, Detail: detail})
	}
	for key, e := range m.instances {
		before, had := known[key]
		if !e.valid {
			reject(key.String())
			if had && m.fault != "junk stays what it was" {
				u.Deletes = append(u.Deletes, key)
				delete(known, key)
			}
			continue
		}
		if !had || before.revision != e.revision && m.fault != "misses changes of what it has" || m.fault == "sends everything again" {
			known[key] = e
			u.Puts = append(u.Puts, e.Instance)
		}
	}
	for key := range known {
		if _, ok := m.instances[key]; !ok && m.fault != "never deletes" {
			u.Deletes = append(u.Deletes, key)
			delete(known, key)
			if m.fault == "deletes twice" {
				u.Deletes = append(u.Deletes, key)
			}
		}
	}
	for id, e := range m.members {
		before, had := members[id]
		if !e.valid {
			reject("member " + id.String())
			if had {
				u.MembersGone = append(u.MembersGone, id)
				delete(members, id)
			}
			continue
		}
		if !had || before.revision != e.revision {
			members[id] = e
			u.Members = append(u.Members, e.RegisteredMember)
		}
	}
	for id := range members {
		if _, ok := m.members[id]; !ok && m.fault != "members never go" {
			u.MembersGone = append(u.MembersGone, id)
			delete(members, id)
		}
	}
	slices.SortFunc(rejects.Entries, func(a, b dynmesh.Rejected) int { return strings.Compare(a.Key, b.Key) })
	if !reflect.DeepEqual(rejects, m.rejects) {
		m.rejects, u.Rejected = rejects, rejects
	}
	changed = changed || u.Rejected != nil || last.MembersRead != u.MembersRead
	return u, changed || len(u.Puts)+len(u.Deletes)+len(u.Members)+len(u.MembersGone) > 0
}
