package text

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// URL returns a URL, however malformed, as people may see it: without user, password, query and
// fragment, as one line of at most 200 bytes. What was left out shows as an ellipsis.
func URL(raw string) string {
	rest, left := raw, ""
	if i := strings.LastIndexByte(rest, '@'); i >= 0 { // the last one: a password has any character
		left = ellipsis + "@"
		if scheme, _, ok := strings.Cut(rest[:i], "://"); ok && !strings.ContainsAny(scheme, "@:") {
			left = scheme + "://" + left
		}
		rest = rest[i+1:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i] + ellipsis
	}
	return Line(left+rest, 200)
}

// userInURL is the user of each URL within a text. A password has any character but those that end
// a URL there.
var userInURL = regexp.MustCompile(`://[^\s"'<>]*@`)

// WithoutUsers returns a text in which no URL has a user or a password.
func WithoutUsers(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return userInURL.ReplaceAllString(s, "://"+ellipsis+"@")
}

// WithoutURL takes the URL out of an error of net/http's client: whoever reports it names what was
// asked, and it takes the room of what matters.
func WithoutURL(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err
	}
	return err
}

// Error returns an error's text as one line of at most limit bytes, in which no URL has a user or
// a password. What WithoutURL leaves out is left out.
func Error(err error, limit int) string {
	return Line(WithoutUsers(WithoutURL(err).Error()), limit)
}
