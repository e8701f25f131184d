package frontend

import (
	"bytes"
	"strconv"
)

// acceptsGzip says whether a client that sent these Accept-Encoding headers is to get gzip: it takes it (q above 0, under
// its own name or *), and does not like the plain form better.
func acceptsGzip(headers [][]byte) bool {
	gzip, identity, others := -1.0, -1.0, -1.0 // weights; negative: not named
	for _, header := range headers {
		for item := range bytes.SplitSeq(header, []byte(",")) {
			name, params, _ := bytes.Cut(item, []byte(";"))
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

// weight reads ";q=0.5"; one that cannot be read counts as 0, because plain bytes are right for everybody.
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

// matches says whether these If-None-Match headers name etag. The comparison is the weak one, as for every GET: W/"x"
// matches "x".
func matches(headers [][]byte, etag string) bool {
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
			if string(rest[:end+2]) == etag {
				return true
			}
			rest = rest[end+2:]
		}
	}
	return false
}
