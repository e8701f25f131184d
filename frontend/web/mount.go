package web

import (
	"strings"

	"github.com/gofiber/fiber/v2"
)

// filesPath is where the files lie that the page consists of. The bundle's hash follows.
const filesPath = "/page/"

// policy is the Content-Security-Policy, guard being the source expression of the one script in the index. Trusted types are
// required, and no policy may make any: then the browser itself refuses to take a string for markup or script.
func policy(guard string) string {
	return "default-src 'none'; script-src 'self' " + guard + "; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// Mount adds the page to app: GET / and the files that it consists of, under /page/. The files are read and compressed once,
// here. It must be called before app serves.
func Mount(app fiber.Router) {
	b := newBundle()
	app.Get("/", func(c *fiber.Ctx) error { return b.send(c, b.index, "no-cache") })
	app.Get(filesPath+":hash/:name", func(c *fiber.Ctx) error {
		f := b.files[c.Params("name")]
		if f == nil {
			return fiber.ErrNotFound
		}
		if c.Params("hash") != b.hash {
			// Behind one address there may be frontends of two versions, during an update. Half a page is worse than one of
			// mixed files, which the next load mends.
			return b.send(c, f, "no-cache")
		}
		return b.send(c, f, "public, max-age=31536000, immutable")
	})
}

// send answers with the file, or that the client has it.
func (b *bundle) send(c *fiber.Ctx, f *file, caching string) error {
	header := &c.Response().Header
	header.Set(fiber.HeaderCacheControl, caching)
	header.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	header.Set(fiber.HeaderETag, f.etag)
	if tagged(string(c.Request().Header.Peek(fiber.HeaderIfNoneMatch)), f.etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	header.Set(fiber.HeaderContentType, f.kind)
	header.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	header.Set(fiber.HeaderContentSecurityPolicy, b.policy)
	header.Set(fiber.HeaderXFrameOptions, "DENY") // for browsers that do not know frame-ancestors
	header.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if c.Request().Header.HasAcceptEncoding("gzip") {
		header.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(f.gzip)
	}
	return c.Send(f.plain)
}

// tagged says whether If-None-Match has the tag. Tags here have no commas in them.
func tagged(header, tag string) bool {
	for known := range strings.SplitSeq(header, ",") {
		if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
