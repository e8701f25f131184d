package frontend

import (
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh"
)

const meshPath = "/mesh"

// showMesh answers /mesh.
func (f *Frontend) showMesh(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	p := f.registry.page.Load()
	return answerWith(c, p, p.view.plain, p.view.gzip.Load())
}

// showPart answers /mesh/{namespace}.{component}.{endpoint} and …/{instance}: the same document with less in it. It is
// put together for each request, of shared bytes, and so never compressed.
func (f *Frontend) showPart(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	p := f.registry.page.Load()
	name := "dyn://" + strings.TrimPrefix(unescaped(c.Params("endpoint")), "dyn://")
	whole := p.view.narrow(name, nil)
	if whole == nil {
		return notFound(c, p, "no endpoint "+name+" is known")
	}
	wanted := unescaped(c.Params("instance"))
	if wanted == "" {
		return answerWith(c, p, whole, nil)
	}
	id, err := dynmesh.ParseInstanceID(wanted)
	if err != nil {
		return notFound(c, p, err.Error())
	}
	one := p.view.narrow(name, &id)
	if one == nil {
		return notFound(c, p, "endpoint "+name+" has no instance "+id.String())
	}
	return answerWith(c, p, one, nil)
}

// unescaped undoes the URL's escapes: foreign names may hold anything. The result is of its own memory.
func unescaped(s string) string {
	plain, err := url.PathUnescape(strings.Clone(s))
	if err != nil {
		return strings.Clone(s) // and will not be found
	}
	return plain
}

// notFound says what there is not, as far as is known.
func notFound(c *fiber.Ctx, p *page, message string) error {
	if p.state == dynmesh.Syncing {
		message += ", and etcd has not been read yet"
	}
	return problem(c, p, fiber.StatusNotFound, message)
}

// problem says why there is no answer.
func problem(c *fiber.Ctx, p *page, code int, message string) error {
	response := &c.Response().Header
	response.Set(headerDiscovery, p.discoveryHeader(time.Now()))
	response.Set(fiber.HeaderCacheControl, "no-cache")
	response.SetContentType(fiber.MIMEApplicationJSON)
	return c.Status(code).Send(encoded(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  string `json:"status"`
	}{code, strings.ToValidUTF8(message, "\uFFFD"), "error"}))
}
