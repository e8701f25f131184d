package table_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// learn has a learn from b what it lacks, as two members would, and returns how many bytes b sent.
func learn(t testing.TB, a, b *table.Table) (sent int) {
	t.Helper()
	for _, s := range a.Have(a.Digest().Differ(b.Digest())) {
		answer, err := b.Missing(s)
		if err != nil {
			t.Fatal(err)
		}
		mustMerge(t, a, answer...)
		for _, m := range answer {
			sent += len(m)
		}
	}
	return sent
}

func TestTwoTablesBecomeEqual(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		messages := rapid.SliceOfN(crafted(), 0, 6)
		a, b := merged(t, messages.Draw(rt, "a")), merged(t, messages.Draw(rt, "b"))
		c, d := merged(t, everything(a)), merged(t, everything(b))
		for _, i := range c.Digest().Differ(d.Digest()) { // by buckets
			ours := c.Bucket(i)
			mustMerge(t, c, d.Bucket(i)...)
			mustMerge(t, d, ours...)
		}
		learn(t, a, b)
		learn(t, b, a)
		if !equal(a, b) || !equal(c, d) || !equal(a, c) {
			rt.Fatalf("%v and %v; by buckets %v and %v", standing(a), standing(b), standing(c), standing(d))
		}
		if learn(t, a, b) > 0 || learn(t, b, a) > 0 {
			rt.Fatal("equal tables send something")
		}
	})
}

// What a table sends says nothing of how it came to hold it, so equal tables send the same.
func TestEqualTablesSendTheSame(t *testing.T) {
	a := merged(t, everything(fleet(t, 300)))
	b := merged(t, reversed(everything(fleet(t, 300))))
	for i := range table.Buckets {
		x, y := a.Bucket(i), b.Bucket(i)
		if len(x) != len(y) || len(x) > 0 && string(x[0]) != string(y[0]) {
			t.Fatalf("bucket %d differs", i)
		}
	}
}

func TestOnlyObserversThatDifferAreSent(t *testing.T) {
	all := everything(fleet(t, 2000))
	a, b := merged(t, all), merged(t, all)
	news := newTable(dynmesh.Observer{ID: 1 << 50, Epoch: 1})
	mustObserve(t, news, own(1<<50, dynmesh.Pass))
	mustMerge(t, b, everything(news)...)
	if n := learn(t, a, b); n == 0 || n > 250 || !equal(a, b) {
		t.Errorf("%d bytes were sent for one observer", n)
	}
	if got := newTable(reader); learn(t, got, b) == 0 || !equal(got, b) {
		t.Error("a new table did not learn all")
	}
}

func TestSummariesFitMessages(t *testing.T) {
	tb := fleet(t, table.MaxObservers-1)
	var all []int
	for i := range table.Buckets {
		all = append(all, i)
	}
	summaries := tb.Have(all)
	for _, s := range summaries {
		if len(s) > table.MaxBatch {
			t.Errorf("a summary of %d bytes", len(s))
		}
		if answer, err := tb.Missing(s); err != nil || len(answer) > 0 {
			t.Errorf("a table answers itself with %d messages, %v", len(answer), err)
		}
	}
	for _, m := range everything(tb) {
		if len(m) > table.MaxBatch {
			t.Errorf("a message of %d bytes", len(m))
		}
	}
	if len(summaries) < 2 {
		t.Errorf("%d summaries do not try this", len(summaries))
	}
}

func TestBadSummaries(t *testing.T) {
	tb := goldenTable(t)
	for name, c := range map[string]struct {
		message []byte
		want    error
	}{
		"a batch":          {tb.Bucket(8)[0], table.ErrType},
		"no such bucket":   {append([]byte{table.Version, 3}, unknownField(1, []byte{8, 0x80, 2})...), table.ErrMalformed},
		"half an observer": {append([]byte{table.Version, 3}, unknownField(1, unknownField(2, make([]byte, 24)))...), table.ErrMalformed},
		"another version":  {[]byte{7, 3}, table.ErrVersion},
		"garbage":          {[]byte{table.Version, 3, 0xff}, table.ErrMalformed},
	} {
		if got, err := tb.Missing(c.message); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %d messages, error %v, want %v", name, len(got), err, c.want)
		}
	}
	for name, message := range map[string][]byte{
		"nothing": {table.Version, 2}, "too few": append([]byte{table.Version, 2}, unknownField(1, make([]byte, 2040))...), "a batch": tb.Bucket(8)[0], "garbage": {table.Version, 2, 0xff},
	} {
		if _, err := table.ParseDigest(message); err == nil {
			t.Errorf("digest of %s was accepted", name)
		}
	}
}

func reversed(m [][]byte) [][]byte {
	r := make([][]byte, len(m))
	for i := range m {
		r[len(m)-1-i] = m[i]
	}
	return r
}

// fleet is what is known of n workers that serve one instance each: what each says of its instance
// and of itself, and what two others say of it.
func fleet(t testing.TB, n int) *table.Table {
	var entries []table.Entry
	id := func(i int) dynmesh.InstanceID { return dynmesh.InstanceID(0x694d_9b90_0000_0000 + i%n*0x1_0001) }
	at := clock(0)
	for i := range n {
		say := func(seq uint64, f dynmesh.Report) {
			f.At = at
			entries = append(entries, table.Crafted(dynmesh.Observer{ID: id(i), Epoch: uint64(at.UnixMilli())}, 0, f.Subject, seq, table.Encode(seq, &f)))
		}
		say(1, dynmesh.Report{Subject: dynmesh.Subject{ID: id(i)}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass})
		f := own(id(i), dynmesh.Pass)
		f.Latency = 12345000
		say(2, f)
		for k := range 2 {
			say(uint64(3+k), dynmesh.Report{Subject: dynmesh.Subject{ID: id(i + k + 1)}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass, Latency: 345000})
		}
	}
	tb := newTable(reader)
	mustMerge(t, tb, table.Pack(entries, table.MaxBatch)...)
	return tb
}
