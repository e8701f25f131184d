// Package apitest has an API server for tests: what a client sees that lists, watches and writes,
// over HTTP/2 and TLS, with pages, versions, conflicts, events, bookmarks and errors as a real one
// has them. make kubernetes tries a real one.
package apitest
