package api

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/budget"
)

const (
	eventStream = "text/event-stream"
	heartbeat   = 15 * time.Second // longest time without a word on a stream

	// streamBuffer is how many bytes the kernel may hold for one stream: it would take megabytes
	// for a client that does not read, and there may be many.
	streamBuffer = 64 << 10
)

// events answers /events: with a stream, on which docs/events.md tells what comes. The server lets
// go of the connection, so that a stream is one goroutine, and sends shared bytes without a copy.
type events struct {
	*broadcaster
	heartbeat    time.Duration
	writeTimeout time.Duration // for one event
}

func (e *events) serve(c *fiber.Ctx) error {
	if c.Request().Header.IsHead() {
		c.Set(fiber.HeaderContentType, eventStream)
		c.Set(fiber.HeaderCacheControl, "no-cache")
		return nil
	}
	client, ok := c.Context().Conn().(*conn)
	if !ok {
		return fiber.ErrInternalServerError
	}
	// What a request says is only good until the handler returns.
	last := strings.Clone(c.Get("Last-Event-ID"))
	if last == "" {
		last = strings.Clone(c.Query("last-event-id"))
	}
	revoked := make(chan struct{})
	claim, err := e.Admit(budget.HostOf(client), func() {
		close(revoked)
		closeAtOnce(client.Conn)
	})
	if err != nil {
		c.Set(fiber.HeaderRetryAfter, fmt.Sprint(5+rand.IntN(10))) // not all at once
		return fiber.ErrServiceUnavailable
	}
	at, first, err := e.Subscribe(last)
	if err != nil {
		claim.Release()
		return shuttingDown(c)
	}
	client.onClose = func() { // whatever becomes of the stream
		e.Unsubscribe()
		claim.Release()
	}
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(net.Conn) {
		s := &subscriber{conn: client, writeTimeout: e.writeTimeout, at: at, revoked: revoked}
		s.serve(e.broadcaster, first, e.heartbeat)
	})
	return nil
}

// subscriber is a client that reads a stream.
type subscriber struct {
	*conn
	writeTimeout time.Duration
	at           uint64          // the version that it knows
	revoked      <-chan struct{} // closed when its place is another's
}

// serve sends what comes until the broadcaster or the client ends. The caller closes the
// connection.
func (s *subscriber) serve(b *broadcaster, first *snapshot.Mesh, heartbeat time.Duration) {
	if tcp, ok := s.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = tcp.SetWriteBuffer(streamBuffer) // it works without
	}
	retry := 1000 + rand.IntN(2000) // clients that lose one frontend do not come back at once
	header := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: %s\r\nCache-Control: no-cache\r\n"+
		"X-Accel-Buffering: no\r\nConnection: close\r\n\r\nretry: %d\n\n",
		time.Now().UTC().Format(http.TimeFormat), eventStream, retry)
	if !s.write(header) || first != nil && !s.send(b.snapshotEvent(first)) {
		return
	}
	idle := time.NewTimer(heartbeat)
	defer idle.Stop()
	for {
		events, more, err := b.Next(s.at)
		if err != nil {
			if errors.Is(err, errBehind) {
				s.write([]byte("event: resync\ndata: {\"reason\":\"too slow: what came next is no longer held\"}\n\n"))
			}
			return
		}
		for _, e := range events {
			if !s.send(e.frame) {
				return
			}
			s.at = e.version
			idle.Reset(heartbeat)
		}
		if len(events) > 0 {
			continue // sending took time, in which more may have come
		}
		select {
		case <-more:
		case <-s.revoked:
			return
		case <-idle.C: // a client that went away is noticed by nothing else
			if !s.write([]byte(":\n\n")) {
				return
			}
			idle.Reset(heartbeat)
		}
	}
}

// send writes an event, which counts as held by the client until it is written, and says whether
// there is somebody left.
func (s *subscriber) send(frame *snapshot.Representation) bool {
	s.sending.Store(frame)
	defer s.sending.Store(nil)
	return s.write(frame.Buffers...)
}

// write writes what is shared with others, and does not change it.
func (s *subscriber) write(shared ...[]byte) bool {
	_ = s.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	buffers := net.Buffers(slices.Clone(shared)) // writing uses the list up
	_, err := buffers.WriteTo(s.Conn)
	return err == nil
}
