package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"path"
)

//go:embed page
var pages embed.FS // never changed

const (
	indexName = "index.html"
	guardName = "guard.js"
	hashMark  = "{hash}"  // stands in the index for the bundle's hash
	guardMark = "{guard}" // and for the script that is part of it
)

// bundle is the whole page, as it is sent.
type bundle struct {
	hash   string // of all files: their address changes when one of them does, so that they may be kept for ever
	policy string // the Content-Security-Policy of all of it
	index  *file
	files  map[string]*file // by name, all but the index
}

// file is one file in both forms.
type file struct {
	plain, gzip []byte
	etag        string // weak: it is the same for both forms
	kind        string // Content-Type
}

func newBundle() *bundle {
	b := &bundle{files: map[string]*file{}}
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
	b.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	index, guard := contents[indexName], contents[guardName]
	delete(contents, indexName)
	delete(contents, guardName)
	inline := sha256.Sum256(guard)
	b.policy = policy("'sha256-" + base64.StdEncoding.EncodeToString(inline[:]) + "'")
	index = bytes.Replace(index, []byte(guardMark), guard, 1)
	b.index = b.file(indexName, bytes.ReplaceAll(index, []byte(hashMark), []byte(b.hash)))
	for name, content := range contents {
		b.files[name] = b.file(name, content)
	}
	return b
}

func (b *bundle) file(name string, content []byte) *file {
	f := &file{plain: content, etag: `W/"` + b.hash + `"`, kind: kind(name)}
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // unreachable: the level is a valid one, and memory takes all
	}
	f.gzip = compressed.Bytes()
	return f
}

// kind is a file's Content-Type. The system's table of types is not asked: it differs, and a module of another type is
// refused.
func kind(name string) string {
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
