package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A foreignEntry is what somebody else wrote into the registry.
type foreignEntry struct{ key, value string }

// entry makes one whose value agrees with its key but for what fields say. The id is in the key, so
// it can be found in a log.
func entry(namespace, component, endpoint string, id uint64, fields map[string]string) foreignEntry {
	all := map[string]json.RawMessage{
		"namespace": quoted(namespace), "component": quoted(component), "endpoint": quoted(endpoint),
		"instance_id": json.RawMessage(strconv.FormatUint(id, 10)), "transport": json.RawMessage(`{"nats_tcp":"x"}`),
	}
	for name, raw := range fields {
		all[name] = json.RawMessage(raw)
		if raw == "" {
			delete(all, name)
		}
	}
	value, err := json.Marshal(all)
	if err != nil {
		panic(err) // a field in the tables below is not JSON
	}
	return foreignEntry{registered{Namespace: namespace, Component: component, Endpoint: endpoint, ID: id}.key(), string(value)}
}

func quoted(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string is written
	}
	return b
}

// goodOnes must be listed as they are.
func goodOnes() []foreignEntry {
	out := []foreignEntry{
		entry("dynamo", "backend", "generate", 7587891994254240587, map[string]string{"type": `"Endpoint"`}),
		entry("dynamo", "backend", "generate", 0xf94d9b90ff8deb4b, nil),
		entry("dynamo", "backend", "generate", 1, map[string]string{"transport": `{"quantum_entanglement":{"pair":[1,2.50,1e400,"é\u0000"],"n":12345678901234567890}}`}),
		entry("dynamo", "backend", "generate", 2, map[string]string{"device_type": `"cuda"`, "zzz": `{"b":1,"a":[]}`, "aaa": `18446744073709551615`}),
		entry("dynamo", "prefill", "generate", 3, map[string]string{"transport": `{"http_tcp":{"http_endpoint":"http://10.0.0.1:8000/v1/rpc","tcp_endpoint":"10.0.0.1:9000"}}`}),
	}
	for i, name := range []string{"with space", "dots.in.it", `"quoted"`, "<b>&amp;", "名前", "a\u00e9b", `back\slash`, "%2F", "-", strings.Repeat("n", 300)} {
		out = append(out, entry("dynamo", name, "generate", uint64(0x100+i), nil), entry(name, "backend", name, uint64(0x200+i), nil))
	}
	return out
}

// badOnes must be skipped, counted and warned of once. Each has an id of its own, from 0xbad00 on.
func badOnes() []foreignEntry {
	id := uint64(0xbad00)
	next := func(fields map[string]string) foreignEntry {
		id++
		return entry("dynamo", "backend", "generate", id, fields)
	}
	with := func(value string) foreignEntry {
		bad := next(nil)
		bad.value = value
		return bad
	}
	out := []foreignEntry{
		with(""), with("not JSON"), with(`{"namespace":"dynamo"`), with("null"), with("[]"), with(`"text"`), with("7"), with("\xff\xfe\x00"),
		with(`{}`), with(strings.Repeat("junk ", 1<<20/5)), with(`{"x":"` + strings.Repeat("j", 1<<20) + `"}`),
		next(map[string]string{"instance_id": `"0xbad"`}), next(map[string]string{"instance_id": "1.5"}),
		next(map[string]string{"instance_id": "-1"}), next(map[string]string{"instance_id": "null"}),
		next(map[string]string{"instance_id": "18446744073709551616"}), next(map[string]string{"instance_id": "4"}),
		next(map[string]string{"namespace": "1"}), next(map[string]string{"component": "{}"}), next(map[string]string{"endpoint": ""}),
		next(map[string]string{"namespace": `"other"`}), next(map[string]string{"component": `"other"`}), next(map[string]string{"endpoint": `"other"`}),
		next(map[string]string{"transport": ""}), next(map[string]string{"transport": "null"}), next(map[string]string{"transport": `"tcp"`}),
	}
	for _, key := range []string{
		"v1/instances/dynamo/backend/generate/%x/more", "v1/instances/dynamo/backend/generate/%x-not-hex", "v1/instances/dynamo/%x",
		"v1/instances/dynamo/backend/generate/00%x", "v1/instances/a/b/c/d/e/f/%x", "v1/instances/%x",
	} {
		bad := next(nil)
		bad.key = fmt.Sprintf(key, id)
		out = append(out, bad)
	}
	for _, name := range []string{"a\u2028b", "a\u202eb"} { // they would end a line, or turn it round
		id++
		out = append(out, entry("dynamo", name, "generate", id, nil))
	}
	return out
}

// others are in buckets that are not dynmesh's business: neither listed nor complained of.
func others() []foreignEntry {
	var out []foreignEntry
	for _, bucket := range []string{"v1/event_channels/", "v1/instances_of_another_kind/", "v1/instancesX/", "v1/instances", "v2/instances/", "instances/"} {
		one := entry("dynamo", "backend", "generate", 0xfeed00+uint64(len(out)), nil)
		out = append(out, foreignEntry{bucket + strings.TrimPrefix(one.key, "v1/instances/"), one.value},
			foreignEntry{bucket + "feedface", "not JSON"})
	}
	return out
}

// foreignValues is scenario f: foreign values in the registry, those of design section 3 and worse:
// not JSON, wrong types, a value that contradicts its key, 1 MiB of junk, names with odd
// characters, other buckets: every good instance is listed, the bad ones counted and warned of
// once.
func foreignValues(t *testing.T, w *world) {
	e := w.startEtcd(1)
	good, bad := goodOnes(), badOnes()
	half := len(bad) / 2
	// Half of it is there before the frontends are, half comes while they watch.
	for _, one := range slices.Concat(bad[:half], others(), good[:3]) {
		w.must("put "+one.key, e.put(one.key, one.value))
	}
	front := w.startFrontends(e, 1)[0]
	workers := w.startWorkers(e, 0, 1, "generate")
	for _, one := range slices.Concat(bad[half:], good[3:]) {
		w.must("put "+one.key, e.put(one.key, one.value))
	}
	keys := keysOf(workers...)
	for _, one := range good {
		keys = append(keys, one.key)
	}
	slices.Sort(keys)
	await(t, settled, []*frontend{front}, keys)

	check := func(when string) {
		t.Helper()
		h, err := front.health(ask())
		w.must("health", err)
		checkPassedThrough(t, h, good)
		eventually(t, settled, when+": every bad entry is counted", func() error {
			now, err := front.metric("dynmesh_registry_rejected")
			if err != nil {
				return err
			}
			total, err := front.metric("dynmesh_registry_rejected_total")
			if err == nil && (int(now) != len(bad) || int(total) != len(bad)) {
				err = fmt.Errorf("got %v now and %v in all, want %d", now, total, len(bad))
			}
			return err
		})
		log, err := front.logs()
		w.must("logs", err)
		checkWarnings(t, when, log, bad)
	}
	check("as they came")

	reads, err := front.metric("dynmesh_registry_reads_total")
	w.must("metric", err)
	w.during(cutOff{front}, func() {
		eventually(t, settled, "the frontend says stale", func() error { return front.expect(t, "stale", keys) })
		w.must("churn and compact", e.churn(10))
	})
	await(t, settled, []*frontend{front}, keys)
	if again, err := front.metric("dynmesh_registry_reads_total"); err != nil || again <= reads {
		t.Errorf("got %v whole reads of the registry, %v; want more than %v: nothing was read again", again, err, reads)
	}
	check("after reading all again")

	// What was bad may be made good.
	mended := entry("dynamo", "backend", "generate", 0xbad01, nil)
	w.must("mend", e.put(mended.key, mended.value))
	await(t, settled, []*frontend{front}, slices.Sorted(slices.Values(append(keys, mended.key))))
	w.must("delete", e.do(func(ctx context.Context) error {
		_, err := e.client.Delete(ctx, mended.key)
		return err
	}))
	await(t, settled, []*frontend{front}, keys)
}

// checkPassedThrough checks that good entries are listed with every field they have, number for
// number.
func checkPassedThrough(t *testing.T, h health, good []foreignEntry) {
	t.Helper()
	var listing struct{ Instances []json.RawMessage }
	if err := json.Unmarshal(h.body, &listing); err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]map[string]json.RawMessage)
	for n, raw := range listing.Instances {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		listed[h.Instances[n].key()] = fields
	}
	for _, one := range good {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(one.value), &want); err != nil {
			t.Fatal(err)
		}
		delete(want, "type")
		got := listed[one.key]
		if len(got) != len(want) {
			t.Errorf("%q: got fields %q, want %q", one.key, got, want)
		}
		for name := range want {
			if name == "namespace" || name == "component" || name == "endpoint" {
				continue // they are in the key, by which it was found; how they are escaped is free
			}
			if !bytes.Equal(got[name], want[name]) {
				t.Errorf("%q: got %s %s, want %s", one.key, name, got[name], want[name])
			}
		}
	}
}

// checkWarnings checks that the log has one line about each bad entry, and none about entries that
// are others' business.
func checkWarnings(t *testing.T, when, log string, bad []foreignEntry) {
	t.Helper()
	lines := strings.Split(log, "\n")
	for i, one := range bad {
		id := fmt.Sprintf("%x", 0xbad01+i)
		var about []string
		for _, line := range lines {
			if strings.Contains(line, id) {
				about = append(about, line)
			}
		}
		if len(about) != 1 || !strings.Contains(about[0], " WARN ") {
			t.Errorf("%s: got %d log lines about %q, want one warning: %.500q", when, len(about), one.key, about)
		}
		if len(about) > 0 && len(about[0]) > 2000 {
			t.Errorf("%s: got a log line of %d characters about %q, want less than 2000", when, len(about[0]), one.key)
		}
	}
	if strings.Contains(log, "feed") {
		t.Errorf("%s: got log lines about buckets of others, want none", when)
	}
}
