package api

import (
	"bytes"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// negotiate returns that form of r which the client wants; nil where it has r already, which the
// answer then says. It sets the headers that belong to the choice.
func negotiate(c *fiber.Ctx, r *snapshot.Response) *snapshot.Representation {
	request, response := &c.Request().Header, &c.Response().Header
	response.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	chosen, other := r.Identity, r.Gzip()
	if other != nil && acceptsGzip(request.PeekAll(fiber.HeaderAcceptEncoding)) {
		chosen, other = other, chosen
	}
	if known := request.PeekAll(fiber.HeaderIfNoneMatch); len(known) > 0 {
		// A client may hold the form that it would not be sent now (gzip comes a moment after
		// plain): what it holds is current all the same.
		for _, form := range []*snapshot.Representation{chosen, other} {
			if form != nil && matches(known, form.ETag) {
				response.Set(fiber.HeaderETag, form.ETag)
				c.Status(fiber.StatusNotModified)
				return nil
			}
		}
	}
	response.Set(fiber.HeaderETag, chosen.ETag)
	if chosen.ContentEncoding != "" {
		response.Set(fiber.HeaderContentEncoding, chosen.ContentEncoding)
	}
	return chosen
}

// acceptsGzip says whether a client that sent these Accept-Encoding headers is to get gzip: it
// takes it (q above 0, under its own name or *), and does not like the plain form better.
func acceptsGzip(headers [][]byte) bool {
	gzip, identity, others := -1.0, -1.0, -1.0 // weights; negative: not named
	for _, header := range headers {
		for coding := range bytes.SplitSeq(header, []byte(",")) {
			name, params, _ := bytes.Cut(coding, []byte(";"))
			switch name = bytes.TrimSpace(name); {
			case bytes.EqualFold(name, []byte("gzip")), bytes.EqualFold(name, []byte("x-gzip")):
				gzip = max(gzip, weight(params))
			case bytes.EqualFold(name, []byte("identity")):
				identity = weight(params)
			case string(name) == "*":
				others = weight(params)
			}
		}
	}
	if gzip < 0 {
		gzip = others
	}
	return gzip > 0 && gzip >= identity
}

// weight reads ";q=0.5"; one that cannot be read counts as 0, because plain bytes are right for
// everybody.
func weight(params []byte) float64 {
	for param := range bytes.SplitSeq(params, []byte(";")) {
		key, value, _ := bytes.Cut(param, []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(key), []byte("q")) {
			continue
		}
		q, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		if err != nil || q < 0 || q > 1 {
			return 0
		}
		return q
	}
	return 1
}

// matches says whether these If-None-Match headers name etag. The comparison is the weak one, as
// for every GET: W/"x" matches "x".
func matches(headers [][]byte, etag string) bool {
	opaque := etag
	if len(opaque) > 2 && opaque[:2] == "W/" {
		opaque = opaque[2:]
	}
	for _, header := range headers {
		rest := bytes.TrimSpace(header)
		if string(rest) == "*" {
			return true
		}
		for len(rest) > 0 {
			rest = bytes.TrimLeft(rest, " \t,")
			rest = bytes.TrimPrefix(rest, []byte("W/"))
			if len(rest) == 0 || rest[0] != '"' {
				break // not a list of tags
			}
			end := bytes.IndexByte(rest[1:], '"')
			if end < 0 {
				break
			}
			if string(rest[:end+2]) == opaque {
				return true
			}
			rest = rest[end+2:]
		}
	}
	return false
}
