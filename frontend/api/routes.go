package api

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/frontend/web"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The routes that no setting moves.
const (
	metricsPath = "/metrics"
	readyPath   = "/ready"
	modelsPath  = "/v1/models/"
	meshPath    = "/mesh"
	eventsPath  = "/events"
	targetsPath = "/sd/prometheus"
	historyPath = "/history"
	pagePath    = "/"
	filesPath   = "/page/" // of the page; the hash of all of them follows
)

const headerDiscovery = "X-Dynmesh-Discovery"

var (
	liveBody         = []byte(`{"message":"Service is live","status":"live"}`)
	shuttingDownBody = []byte(`{"message":"Service is shutting down","status":"shutting_down"}`)
)

// answers answers requests from the newest snapshot.
type answers struct {
	*state
	history   History       // nil: none
	questions chan struct{} // holds as many as are asked of it
}

// live touches nothing: whatever hangs, the process answers for itself. It does so while it drains,
// too, as Dynamo's frontend does: who drains is to be left alone, not to be killed.
func (answers) live(c *fiber.Ctx) error {
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Send(liveBody)
}

func (a answers) health(c *fiber.Ctx) error {
	s := a.newest.Load()
	return reply(c, s, &s.Health.Response)
}

func (a answers) mesh(c *fiber.Ctx) error {
	s := a.newest.Load()
	if at := c.Query("at"); at != "" {
		return a.meshAt(c, at, "", nil)
	}
	return reply(c, s, &s.Mesh.Response)
}

// narrow answers /mesh/{namespace}.{component}.{endpoint} and …/{instance}: the same document with
// less in it. It is put together for each request, of shared bytes, and so never compressed.
func (a answers) narrow(c *fiber.Ctx) error {
	s := a.newest.Load()
	name := "dyn://" + strings.TrimPrefix(unescape(c.Params("endpoint")), "dyn://")
	var found *snapshot.Representation
	var id *dynmesh.InstanceID
	var err error
	if wanted := unescape(c.Params("instance")); wanted != "" {
		id = new(dynmesh.InstanceID)
		*id, err = dynmesh.ParseInstanceID(wanted)
	}
	if at := c.Query("at"); at != "" && err == nil {
		return a.meshAt(c, at, name, id)
	}
	if err == nil {
		found = s.Mesh.Narrow(name, id)
	}
	if found != nil {
		return reply(c, s, &snapshot.Response{Identity: found})
	}
	switch _, known := s.Mesh.Serving(name); {
	case !known:
		return notFound(c, s, "no endpoint "+name+" is known")
	case err != nil:
		return notFound(c, s, err.Error())
	}
	return notFound(c, s, "endpoint "+name+" has no instance "+id.String())
}

// ready says whether the fleet has what is expected.
func (a answers) ready(c *fiber.Ctx) error {
	s := a.newest.Load()
	describe(c, s)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	if !s.Mesh.Ready.Ready {
		c.Status(fiber.StatusServiceUnavailable)
	}
	return c.Send(s.Mesh.Ready.JSON)
}

// model says whether a model can be served: /v1/models/{model}/ready. Names of models may have
// slashes.
func (a answers) model(c *fiber.Ctx) error {
	s := a.newest.Load()
	name, is := strings.CutSuffix(unescape(c.Params("*")), readyPath)
	if !is {
		return notFound(c, s, "there is "+modelsPath+"{model}"+readyPath+" only")
	}
	r := s.Mesh.Models.Of(name)
	if r == nil {
		return notFound(c, s, "no registered worker serves a model of this name, by its model card")
	}
	describe(c, s)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	if !r.Ready {
		c.Status(fiber.StatusServiceUnavailable)
	}
	return c.Send(r.JSON())
}

// targets answers /sd/prometheus. A list that is empty because the registry was not read yet would
// have Prometheus drop all that it scrapes.
func (a answers) targets(c *fiber.Ctx) error {
	s := a.newest.Load()
	switch {
	case s.Mesh.Discovery == dynmesh.Syncing:
		return problem(c, s, fiber.StatusServiceUnavailable, "the registry has not been read yet")
	case !s.Mesh.MembersSynced: // they are read apart from the instances, and may be later
		return problem(c, s, fiber.StatusServiceUnavailable, "what processes tell of themselves has not been read yet")
	}
	return reply(c, s, s.Mesh.Targets)
}

// unescape undoes the URL's escapes: foreign names may hold anything. The result is of its own
// memory.
func unescape(s string) string {
	plain, err := url.PathUnescape(strings.Clone(s))
	if err != nil {
		return strings.Clone(s) // and will not be found
	}
	return plain
}

// describe sets the headers of all answers that a snapshot gives.
func describe(c *fiber.Ctx, s *snapshot.Snapshot) {
	header := &c.Response().Header
	header.Set(headerDiscovery, discoveryHeader(s, time.Now()))
	header.Set(fiber.HeaderCacheControl, "no-cache")
}

// discoveryHeader says how much what is known of the registry is worth, and of each of several.
func discoveryHeader(s *snapshot.Snapshot, now time.Time) string {
	header := s.Discovery.String()
	if s.Discovery == dynmesh.Stale {
		age := max(0, now.Sub(s.Since).Seconds())
		header += "; age=" + strconv.FormatFloat(age, 'f', 1, 64) + "s"
	}
	if s.Sources != "" {
		header += "; " + s.Sources
	}
	return header
}

// reply sends that form of an answer which the client wants, or says that it has it already.
func reply(c *fiber.Ctx, s *snapshot.Snapshot, r *snapshot.Response) error {
	describe(c, s)
	chosen := negotiate(c, r)
	if chosen == nil {
		return nil
	}
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return send(c, chosen)
}

// send answers with r, whose bytes are shared and not copied.
func send(c *fiber.Ctx, r *snapshot.Representation) error {
	client, ok := c.Context().Conn().(*conn)
	if ok {
		client.sending.Store(r)
	}
	if len(r.Buffers) == 1 {
		return c.Send(r.Buffers[0])
	}
	t := newTransfer(r)
	if ok && !c.Request().Header.IsHead() { // whose answer says how large the body is, and no more
		client.next = t
	}
	return c.SendStream(t, r.Size)
}

// notFound says what there is not, as far as is known.
func notFound(c *fiber.Ctx, s *snapshot.Snapshot, message string) error {
	if s.Discovery == dynmesh.Syncing {
		message += ", and the registry has not been read yet"
	}
	return problem(c, s, fiber.StatusNotFound, message)
}

// problem says why there is no answer.
func problem(c *fiber.Ctx, s *snapshot.Snapshot, code int, message string) error {
	describe(c, s)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Status(code).Send(errorBody(code, message))
}

// maxMessage is how long an error's text is at most, in bytes.
const maxMessage = 1000

func errorBody(code int, message string) []byte {
	return text.JSON(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  string `json:"status"`
	}{code, text.Line(message, maxMessage), "error"})
}

func shuttingDown(c *fiber.Ctx) error {
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	header.SetConnectionClose()
	return c.Status(fiber.StatusServiceUnavailable).Send(shuttingDownBody)
}

// readOnly answers what asks for more than a look.
func readOnly(c *fiber.Ctx) error {
	switch c.Method() {
	case fiber.MethodGet, fiber.MethodHead:
		return c.Next()
	case fiber.MethodOptions:
		c.Set(fiber.HeaderAllow, methods)
		return c.SendStatus(fiber.StatusNoContent)
	}
	c.Response().Header.SetConnectionClose()
	return fiber.ErrMethodNotAllowed
}

// methods are those of every route.
const methods = "GET, HEAD, OPTIONS"

// refusal is an error of which the client is told the text.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

// answerError answers what no route does. Of the request nothing is repeated but what a refusal
// does.
func answerError(c *fiber.Ctx, err error) error {
	code, message := fiber.StatusInternalServerError, ""
	if e := (*fiber.Error)(nil); errors.As(err, &e) {
		code = e.Code
	}
	if e := (*refusal)(nil); errors.As(err, &e) {
		code, message = e.code, e.text
	}
	if code == fiber.StatusMethodNotAllowed {
		c.Set(fiber.HeaderAllow, methods)
	}
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, "no-cache")
	header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Status(code).Send(errorBody(code, cmp.Or(message, fasthttp.StatusMessage(code))))
}

// mountPage adds the page: GET / and the files that it consists of. The first of them says what
// newest does.
func mountPage(app *fiber.App, newest func() *snapshot.Mesh) {
	b := web.NewBundle()
	files := map[string]*pageFile{}
	for name, f := range b.Files {
		files[name] = newPageFile(f)
	}
	index := &indexFile{bundle: b}
	app.Get(pagePath, func(c *fiber.Ctx) error { return index.of(newest()).reply(c, b.Header, "no-cache") })
	app.Get(filesPath+":hash/:name", func(c *fiber.Ctx) error {
		f := files[c.Params("name")]
		if f == nil {
			return fiber.ErrNotFound
		}
		if c.Params("hash") != b.Hash {
			// Behind one address there may be frontends of two versions, during an update. Half a
			// page is worse than one of mixed files, which the next load mends.
			return f.reply(c, b.Header, "no-cache")
		}
		return f.reply(c, b.Header, "public, max-age=31536000, immutable")
	})
}

// indexFile is the page's index, which is made again when somebody asks and the state is another.
type indexFile struct {
	bundle *web.Bundle

	mu      sync.Mutex
	version uint64 // of what it says; the Mesh itself would stay in memory
	file    *pageFile
}

func (i *indexFile) of(m *snapshot.Mesh) *pageFile {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == nil || i.version != m.Version {
		i.version, i.file = m.Version, newPageFile(i.bundle.Index(m.Headline()))
	}
	return i.file
}

// pageFile is a file of the page, as it is sent.
type pageFile struct {
	snapshot.Response
	contentType string
}

func newPageFile(f *web.File) *pageFile {
	p := &pageFile{contentType: f.Type}
	p.Identity = &snapshot.Representation{Buffers: [][]byte{f.Plain}, Size: len(f.Plain), ETag: f.ETag}
	p.SetGzip(&snapshot.Representation{Buffers: [][]byte{f.Gzip}, Size: len(f.Gzip), ETag: f.ETag, ContentEncoding: "gzip"})
	return p
}

// reply answers with the file and the headers given, or says that the client has it.
func (f *pageFile) reply(c *fiber.Ctx, headers [][2]string, caching string) error {
	c.Set(fiber.HeaderCacheControl, caching)
	chosen := negotiate(c, &f.Response)
	if chosen == nil {
		return nil
	}
	c.Response().Header.SetContentType(f.contentType)
	for _, h := range headers {
		c.Set(h[0], h[1])
	}
	return send(c, chosen)
}
