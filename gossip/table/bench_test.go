package table_test

import (
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

const workers = 10_000 // with one instance each: 40,000 observations

// What a member does that joins.
func BenchmarkMergeFleet(b *testing.B) {
	tb := fleet(b, workers)
	all := everything(tb)
	n, bytes := tb.Stats().Observations, 0
	for _, m := range all {
		bytes += len(m)
	}
	b.ReportAllocs()
	for b.Loop() {
		merged(b, all)
	}
	b.ReportMetric(float64(bytes)/float64(n), "B/observation")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/observation")
}

// What a member does with most of what gossip brings.
func BenchmarkMergeKnown(b *testing.B) {
	tb := fleet(b, workers)
	all := everything(tb)
	b.ReportAllocs()
	for b.Loop() {
		mustMerge(b, tb, all...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tb.Stats().Observations), "ns/observation")
}

func BenchmarkObserve(b *testing.B) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	f := own(7, "pass")
	b.ReportAllocs()
	for b.Loop() {
		f.Ready = !f.Ready
		if _, err := tb.Observe(f); err != nil {
			b.Fatal(err)
		}
	}
}

// Everything has changed at once, and 1,000 members are to hear of it.
func BenchmarkTake(b *testing.B) {
	entries := mustMerge(b, newTable(reader), everything(fleet(b, workers))...).Entries
	var d table.BroadcastQueue
	packets, bytes := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		m := d.Packet(3, 1200, 1000)
		if m == nil {
			b.StopTimer()
			d.Add(entries...)
			b.StartTimer()
			continue
		}
		packets++
		bytes += len(m[0])
	}
	b.ReportMetric(float64(bytes)/float64(max(1, packets)), "B/packet")
	n := 0
	d.Add(entries...)
	for i := 0; i < 100; i++ {
		n += len(mustMerge(b, newTable(reader), d.Packet(3, 1200, 1000)...).Set)
	}
	b.ReportMetric(float64(n)/100, "observations/packet")
}

func BenchmarkMark(b *testing.B) {
	entries := mustMerge(b, newTable(reader), everything(fleet(b, workers))...).Entries
	b.ReportAllocs()
	for b.Loop() {
		var d table.BroadcastQueue
		d.Add(entries...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/observation")
}

// 100 of the workers differ: what each way of comparison sends.
func BenchmarkCompare(b *testing.B) {
	all := everything(fleet(b, workers))
	x, y := merged(b, all), merged(b, all)
	for o := range x.Observers() {
		if o.ID != reader.ID && (o.ID&0xffff)%(workers/100) == 0 {
			y.Forget(o, clock(0))
		}
	}
	bucket, summary, answer := 0, 0, 0
	for b.Loop() {
		bucket, summary, answer = 0, 0, 0
		differ := y.Digest().Differ(x.Digest())
		for _, i := range differ {
			for _, m := range x.Bucket(i) {
				bucket += len(m)
			}
		}
		for _, s := range y.Have(differ) {
			summary += len(s)
			messages, err := x.Missing(s)
			if err != nil {
				b.Fatal(err)
			}
			for _, m := range messages {
				answer += len(m)
			}
		}
	}
	b.ReportMetric(float64(bucket), "B/buckets")
	b.ReportMetric(float64(summary), "B/summary")
	b.ReportMetric(float64(answer), "B/answer")
}
