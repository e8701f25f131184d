package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io/fs"
	"path"
	"slices"
)

//go:embed page
var pages embed.FS // never changed

const (
	indexName = "index.html"
	guardName = "guard.js"
	hashMark  = "{hash}"  // stands in the index for the bundle's hash
	guardMark = "{guard}" // and for the script that is part of it
	firstMark = "{first}" // where the state stands until the page draws itself
)

// Bundle is the whole page, as it is sent.
type Bundle struct {
	Hash   string           // of all files, part of their addresses: they may be kept for ever
	Header [][2]string      // names and values that go with each of the files
	Files  map[string]*File // by name, all but the index

	index [2][]byte // before and after the state
}

// Index is the index, which says first until the page draws itself, and where nothing else of it
// can be had: markup is taken for text.
func (b *Bundle) Index(first string) *File {
	first = html.EscapeString(first)
	sum := sha256.Sum256([]byte(first))
	f := compressed(indexName, slices.Concat(b.index[0], []byte(first), b.index[1]))
	f.ETag = `W/"` + b.Hash + "-" + hex.EncodeToString(sum[:6]) + `"`
	return f
}

// File is one file in both forms.
type File struct {
	Plain, Gzip []byte
	ETag        string // weak: it is the same for both forms
	Type        string // Content-Type
}

// NewBundle reads and compresses the files, which are part of the program.
func NewBundle() *Bundle {
	b := &Bundle{Files: map[string]*File{}}
	contents := map[string][]byte{}
	sum := sha256.New()
	err := fs.WalkDir(pages, "page", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := pages.ReadFile(p)
		contents[path.Base(p)] = content
		sum.Write([]byte(p + "\x00"))
		sum.Write(content)
		return err
	})
	if err != nil {
		panic(err) // unreachable: what is embedded can be read
	}
	b.Hash = hex.EncodeToString(sum.Sum(nil)[:8])
	index, guard := contents[indexName], contents[guardName]
	delete(contents, indexName)
	delete(contents, guardName)
	inline := sha256.Sum256(guard)
	b.Header = [][2]string{
		{"X-Content-Type-Options", "nosniff"},
		{"Content-Security-Policy", policy("'sha256-" + base64.StdEncoding.EncodeToString(inline[:]) + "'")},
		{"X-Frame-Options", "DENY"}, // for browsers that do not know frame-ancestors
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Opener-Policy", "same-origin"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
	}
	index = bytes.Replace(index, []byte(guardMark), guard, 1)
	index = bytes.ReplaceAll(index, []byte(hashMark), []byte(b.Hash))
	b.index[0], b.index[1], _ = bytes.Cut(index, []byte(firstMark))
	for name, content := range contents {
		b.Files[name] = compressed(name, content)
		b.Files[name].ETag = `W/"` + b.Hash + `"`
	}
	return b
}

// compressed is a file in both forms, without its ETag.
func compressed(name string, content []byte) *File {
	f := &File{Plain: content, Type: contentType(name)}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // unreachable: the level is a valid one, and memory takes all
	}
	f.Gzip = packed.Bytes()
	return f
}

// policy is the Content-Security-Policy, guard being the source expression of the one script in the
// index. Trusted types are required, and no policy may make any: then the browser itself refuses to
// take a string for markup or script.
func policy(guard string) string {
	return "default-src 'none'; script-src 'self' " + guard + "; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// contentType is a file's type by its name. The system's table of types is not asked: it differs,
// and a module of another type is refused.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}
