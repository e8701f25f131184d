package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRequests is what the request server costs: over connections kept alive, by a client
// that does as little as it can. Both share the processors.
func BenchmarkRequests(b *testing.B) {
	w, err := New(local())
	if err != nil {
		b.Fatal(err)
	}
	chunk := json.RawMessage(`{"id":"cmpl-1","choices":[{"index":0,"text":" word","finish_reason":null}]}`)
	for name, chunks := range map[string]int{"one": 1, "hundred": 100} {
		if err := w.Handle(name, func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for range chunks {
				if err := send(chunk); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	prompt := bytes.Repeat([]byte("word "), 200)
	for _, bb := range []struct{ name, endpoint string }{{"one-chunk", "one"}, {"hundred-chunks", "hundred"}} {
		request := "POST /v1/rpc/" + bb.endpoint + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1025\r\n\r\n" +
			`{"max_tokens":1,"prompt":"` + string(prompt[:997]) + `"}`
		serial := func(b *testing.B, next func() bool) {
			conn, err := net.Dial("tcp", w.RPCAddr())
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			answers := bufio.NewReader(conn)
			for next() {
				if _, err := io.WriteString(conn, request); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("%v (%v)", resp, err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				if err := errors.Join(err, resp.Body.Close()); err != nil {
					b.Error(err)
					return
				}
			}
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			serial(b, b.Loop)
		})
		b.Run(bb.name+"-parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(4)
			defer reportCPU(b)()
			b.RunParallel(func(pb *testing.PB) { serial(b, pb.Next) })
		})
	}
}

// reportCPU reports what the process has used of its processors, which other work on the machine
// disturbs less than the time that has passed.
func reportCPU(b *testing.B) (end func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}
