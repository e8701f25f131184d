package frontend

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"

	"github.com/dynmesh/dynmesh/frontend/web"
)

const headerDiscovery = "X-Dynmesh-Discovery"

var (
	liveBody         = []byte(`{"message":"Service is live","status":"live"}`)
	shuttingDownBody = []byte(`{"message":"Service is shutting down","status":"shutting_down"}`)
)

// newApp builds the HTTP side. It does not listen.
func (f *Frontend) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		CaseSensitive:         true,
		GETOnly:               true, // no route takes a body, so none is read
		BodyLimit:             f.limits.body,
		ReadBufferSize:        f.limits.header,
		ReadTimeout:           f.limits.read,
		WriteTimeout:          f.limits.write,
		IdleTimeout:           f.limits.idle,
		ErrorHandler:          answerError,
	})
	server := app.Server()
	server.CloseOnShutdown = true // else clients go on sending requests into connections that are about to close
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if client, ok := c.(*conn); ok && (state == fasthttp.StateIdle || state == fasthttp.StateClosed) {
			client.sending.Store(nil)
		}
	}
	app.Get(f.cfg.LivePath, f.live)
	app.Get(f.cfg.HealthPath, f.health)
	app.Get(meshPath, f.showMesh)
	app.Get(meshPath+"/:endpoint", f.showPart)
	app.Get(meshPath+"/:endpoint/:instance", f.showPart)
	app.Get(readyPath, f.ready)
	app.Get(targetsPath, f.showTargets)
	app.Get(eventsPath, f.events)
	app.Get(metricsPath, adaptor.HTTPHandler(promhttp.HandlerFor(f.metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: 8, // each renders its own answer: scrapers that pile up must not fill the memory
	})))
	web.Mount(app)
	return app
}

// live touches nothing but the stopping flag: whatever hangs, the process answers for itself.
func (f *Frontend) live(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Send(liveBody)
}

func (f *Frontend) health(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	p := f.registry.page.Load()
	return answerWith(c, p, p.plain, p.gzip.Load())
}

// answerWith sends that form of a page's answer which the client wants, or says that it has it already. The gzip form may
// be nil.
func answerWith(c *fiber.Ctx, p *page, answer, other *body) error {
	request, response := &c.Request().Header, &c.Response().Header
	response.Set(headerDiscovery, p.discoveryHeader(time.Now()))
	response.Set(fiber.HeaderCacheControl, "no-cache")
	response.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)

	if other != nil && acceptsGzip(request.PeekAll(fiber.HeaderAcceptEncoding)) {
		answer, other = other, answer
	}
	if known := request.PeekAll(fiber.HeaderIfNoneMatch); len(known) > 0 {
		// A client may hold the form that it would not be sent now (gzip comes a moment after plain): what it holds is
		// current all the same.
		for _, form := range []*body{answer, other} {
			if form != nil && matches(known, form.etag) {
				response.Set(fiber.HeaderETag, form.etag)
				return notModified(c)
			}
		}
	}
	response.Set(fiber.HeaderETag, answer.etag)
	response.SetContentType(fiber.MIMEApplicationJSON)
	if answer.encoding != "" {
		response.Set(fiber.HeaderContentEncoding, answer.encoding)
	}
	return send(c, answer)
}

// send answers with b, whose bytes are shared and not copied.
func send(c *fiber.Ctx, b *body) error {
	client, ok := c.Context().Conn().(*conn)
	if ok {
		client.sending.Store(b)
	}
	if len(b.segments) == 1 {
		return c.Send(b.segments[0])
	}
	s := newStream(b)
	if ok && !c.Request().Header.IsHead() { // the answer to HEAD says how large the stream is, and that is all
		client.next = s
	}
	return c.SendStream(s, b.size)
}

func notModified(c *fiber.Ctx) error {
	c.Status(fiber.StatusNotModified)
	return nil
}

func shuttingDown(c *fiber.Ctx) error {
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	header.SetConnectionClose()
	return c.Status(fiber.StatusServiceUnavailable).Send(shuttingDownBody)
}

// answerError answers what no route does. Nothing of the request is repeated in the answer.
func answerError(c *fiber.Ctx, err error) error {
	code := fiber.StatusInternalServerError
	if e := (*fiber.Error)(nil); errors.As(err, &e) {
		code = e.Code
	}
	if code == fiber.StatusMethodNotAllowed {
		c.Set(fiber.HeaderAllow, "GET, HEAD")
	}
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Status(code).SendString(`{"code":` + strconv.Itoa(code) + `,"message":` + strconv.Quote(fasthttp.StatusMessage(code)) + `,"status":"error"}`)
}
