package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/dynmesh/dynmesh/frontend/output"
)

// Data is what a template sees as its dot.
type Data struct {
	Targets []Target // by name
}

// Target is an endpoint or a model, as templates see it.
type Target struct {
	Name    string
	Servers []Server // all of them, by address
}

// Serving returns the servers to which requests go.
func (t Target) Serving() []Server { return t.in(output.State.Serves) }

// Draining returns the servers that finish what they have.
func (t Target) Draining() []Server {
	return t.in(func(s output.State) bool { return s == output.Draining })
}

func (t Target) in(state func(output.State) bool) (some []Server) {
	for _, s := range t.Servers {
		if state(s.state) {
			some = append(some, s)
		}
	}
	return some
}

// Server is a server, as templates see it.
type Server struct {
	ID     string // of its instance, in hex
	Addr   string // host:port; empty where it has none of its own
	Host   string
	Port   string
	Scheme string // http, https or tcp
	State  string // in, degraded, draining or out
	Weight int    // 100, 50 or 0
	Reason string

	state output.State
}

// dataOf returns what a template sees of an assignment.
func dataOf(a *output.Assignment) Data {
	var d Data
	for _, t := range a.Targets {
		x := Target{Name: t.Name}
		for _, s := range t.Servers {
			host, port := splitAddr(s.Addr)
			x.Servers = append(x.Servers, Server{
				ID: s.Instance.ID.String(), Addr: s.Addr, Host: host, Port: port, Scheme: s.Scheme, State: s.State.String(),
				Weight: s.State.Weight(), Reason: s.Reason, state: s.State,
			})
		}
		d.Targets = append(d.Targets, x)
	}
	return d
}

func splitAddr(addr string) (host, port string) {
	at := strings.LastIndexByte(addr, ':')
	if at < 0 {
		return addr, ""
	}
	return strings.Trim(addr[:at], "[]"), addr[at+1:]
}

// maxTemplate is the size of the largest template, and maxFile that of the largest file, in bytes.
const (
	maxTemplate = 1 << 20
	maxFile     = 64 << 20
)

// parseTemplate reads a template. Its functions are those of text/template, and:
//
//	target NAME   the target of that name; an error, and no file, where nobody serves it
//	json VALUE    the value as JSON, in a line
func parseTemplate(path string) (*template.Template, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxTemplate {
		err = fmt.Errorf("%d bytes, more than %d", info.Size(), maxTemplate)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := template.New(filepath.Base(path)).Option("missingkey=error").Funcs(template.FuncMap{
		"target": func(string) (Target, error) { return Target{}, nil }, // replaced before it is executed
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
	})
	return t.Parse(string(text))
}

// render executes a template. That nobody serves, or that a target is not known, is an error: an
// empty list ends all traffic.
func render(t *template.Template, a *output.Assignment) ([]byte, error) {
	t, err := t.Clone()
	if err != nil {
		return nil, err
	}
	d := dataOf(a)
	t.Funcs(template.FuncMap{"target": func(name string) (Target, error) {
		for _, target := range d.Targets {
			switch {
			case target.Name != name:
			case len(target.Serving()) == 0:
				return target, fmt.Errorf("%s has nobody who serves", name)
			default:
				return target, nil
			}
		}
		return Target{}, fmt.Errorf("%s is not known", name)
	}})
	var b limitedBuffer
	err = t.Execute(&b, d)
	return b.Bytes(), err
}

// limitedBuffer takes so much as a file may have.
type limitedBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxFile {
		return 0, errors.New("the file is too large")
	}
	return b.Buffer.Write(p)
}

// stage writes a file beside another one, whose mode it has, to take its place. Its name is hidden
// and ends in .tmp, so that whoever includes all that is in a folder does not take it.
func stage(beside string, content []byte) (path string, err error) {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(beside); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(beside), "."+filepath.Base(beside)+".*.tmp")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(content); err == nil {
		if err = f.Chmod(mode); err == nil {
			err = f.Sync() // before it takes the other's place: a crash leaves the one or the other
		}
	}
	return f.Name(), err
}
