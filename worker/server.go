package worker

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/sirupsen/logrus"
	"github.com/valyala/fasthttp"
)

// Limits on clients: what has no bound is held for ever by somebody.
const (
	maxBody     = 32 << 20 // the longest prompts are a few MiB
	maxHeader   = 16 << 10
	readTimeout = time.Minute // for a whole request
	idleTimeout = 2 * time.Minute
)

// lastMoment is what cancelled requests get to end by themselves; and again, to be gone once they are cut.
const lastMoment = time.Second

// server is one of the worker's two HTTP servers.
type server struct {
	app *fiber.App
	ln  *listener
}

func newServer(ln *listener) *server {
	s := &server{ln: ln}
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage:        true,
		DisableDefaultDate:           true, // it is kept by a goroutine that nobody can end
		DisablePreParseMultipartForm: true,
		CaseSensitive:                true,
		StrictRouting:                true,
		BodyLimit:                    maxBody,
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  readTimeout,
		IdleTimeout:                  idleTimeout,
		ErrorHandler:                 writeError,
	})
	s.app.Server().ConnState = func(nc net.Conn, state fasthttp.ConnState) {
		c, ok := nc.(*conn)
		if !ok {
			return
		}
		switch state {
		case fasthttp.StateIdle:
			ln.idle(c)
		case fasthttp.StateClosed:
			ln.forget(c)
		}
	}
	s.app.Use(func(c *fiber.Ctx) error {
		if !ln.begin(c.Context().Conn()) {
			c.Context().SetConnectionClose()
			return fiber.NewError(http.StatusServiceUnavailable, "the worker is shutting down")
		}
		return c.Next()
	})
	return s
}

// serve returns when the listener is stopped, or with the error that it died of.
func (s *server) serve() error {
	err := s.app.Listener(s.ln)
	if s.ln.draining() {
		return nil
	}
	if err == nil {
		err = net.ErrClosed
	}
	return err
}

// writeError answers with {"error":"…"}: what fiber, fasthttp and the handlers here refuse. It copies the text.
func writeError(c *fiber.Ctx, err error) error {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		status = e.Code
	}
	return c.Status(status).JSON(map[string]string{"error": err.Error()})
}

// stop refuses new requests and waits for those under way: for the time of grace they run on, then their contexts are
// cancelled, and if that ends them neither (a client that does not read, a handler that does not listen), their
// connections are closed.
func (s *server) stop(grace time.Duration, cancel func()) {
	s.ln.stop()
	left := s.ln.wait(grace)
	if left == 0 {
		return
	}
	s.ln.log.WithFields(logrus.Fields{"addr": s.ln.Addr().String(), "requests": left}).Warn("Requests did not finish in time, cancelling them")
	cancel()
	if s.ln.wait(lastMoment) == 0 {
		return
	}
	s.ln.cut()
	if left = s.ln.wait(lastMoment); left > 0 {
		s.ln.log.WithFields(logrus.Fields{"addr": s.ln.Addr().String(), "requests": left}).Error("Requests ignore that they are cancelled, leaving them behind")
	}
}

func discardLog() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.PanicLevel) // so that nothing is formatted either
	return logrus.NewEntry(log)
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
