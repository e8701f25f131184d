package figures

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/discovery/etcd"
)

const (
	fleet      = 10_000
	loaders    = 4
	roundTime  = 2 * time.Second
	rounds     = 7
	healthPath = "/health"
)

// throughput compares /health with 10,000 instances to fasthttp serving the same bytes, and to a
// server that reads the registry from etcd for each request.
func throughput(t *testing.T) []figure {
	server, client := startEtcd(t)
	register(t, client, fleet)
	front := startFrontend(t, server.Endpoint())
	body := awaitBody(t, front.Addr(), fleet)

	plain := serve(t, func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.Response.SetBodyRaw(body)
	})
	perRequest := serve(t, func(ctx *fasthttp.RequestCtx) {
		rendered, err := readAndRender(client)
		if err != nil {
			ctx.Error(err.Error(), 500)
			return
		}
		ctx.SetContentType("application/json")
		ctx.Response.SetBodyRaw(rendered)
	})
	var toPlain, toEtcd, ours []float64
	for range rounds {
		// In turn, so that a machine whose speed drifts treats all alike.
		us, raw, read := load(t, front.Addr()), load(t, plain), load(t, perRequest)
		toPlain, toEtcd, ours = append(toPlain, us/raw), append(toEtcd, us/read), append(ours, us)
	}
	return []figure{
		{fmt.Sprintf("/health, %d instances (%.1f MB): throughput ÷ bare fasthttp with the same bytes", fleet, float64(len(body))/1e6), spread(toPlain), "≥ 0.9", median(toPlain) >= 0.9},
		{"the same ÷ reading the prefix from etcd for each request", spread(toEtcd), "", true},
		{"the same, requests a second (4 connections)", fmt.Sprintf("%.0f", median(ours)), "", true},
	}
}

// readAndRender is what a frontend without a watch does for each request.
func readAndRender(client *clientv3.Client) ([]byte, error) {
	r, err := client.Get(context.Background(), "v1/instances/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	b := []byte(`{"instances":[`)
	for i, kv := range r.Kvs {
		in, err := etcd.DecodeInstance(string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = in.AppendJSON(b)
	}
	return append(b, `],"status":"healthy"}`...), nil
}

func serve(t *testing.T, handler fasthttp.RequestHandler) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { _ = server.Shutdown(); serving.Wait() })
	return listener.Addr().String()
}

// load asks for /health over a few connections for one round and returns answers a second.
func load(t *testing.T, addr string) float64 {
	t.Helper()
	deadline := time.Now().Add(roundTime)
	counts := make([]int, loaders)
	var all sync.WaitGroup
	began := time.Now()
	for i := range loaders {
		all.Go(func() {
			c, err := open(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.conn.Close()
			for time.Now().Before(deadline) {
				if _, err := c.get("GET", io.Discard); err != nil {
					t.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds()
}

// conn is a client that costs as little as possible beside the server that is measured.
type conn struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func open(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{conn: c, r: bufio.NewReaderSize(c, 256<<10), buf: make([]byte, 256<<10)}, nil
}

// get sends one request for /health and returns the answer's ETag.
func (c *conn) get(method string, to io.Writer) (etag string, err error) {
	if _, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, healthPath); err != nil {
		return "", err
	}
	length, status := 0, ""
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimSpace(line)
		if first {
			status = string(line)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("ETag")):
			etag = string(value)
		}
		if err != nil {
			return "", err
		}
	}
	if status != "HTTP/1.1 200 OK" {
		return "", fmt.Errorf("%s %s: %s", method, healthPath, status)
	}
	if method == "HEAD" {
		return etag, nil
	}
	_, err = io.CopyBuffer(to, io.LimitReader(onlyReader{c.r}, int64(length)), c.buf)
	return etag, err
}

// onlyReader hides WriteTo, which would read past the answer's end.
type onlyReader struct{ io.Reader }

// awaitBody waits until /health lists n instances, and returns its body.
func awaitBody(t *testing.T, addr string, n int) []byte {
	t.Helper()
	c, err := open(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var b bytes.Buffer
		if _, err := c.get("GET", &b); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b.Bytes(), []byte(`"instance_id":`)) == n {
			return b.Bytes()
		}
		if time.Now().After(deadline) {
			t.Fatalf("/health does not list %d instances within a minute", n)
		}
	}
}
