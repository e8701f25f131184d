package console

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Target is what an operator typed to mean an instance.
type Target struct {
	endpoint string // dyn://namespace.component.endpoint; empty: any
	id       string // lower-case hex digits: an ID or the beginning of one
}

// Found is an instance and what it serves.
type Found struct {
	Endpoint string
	mesh.Instance
}

// maxListed is how many IDs an error names.
const maxListed = 8

// ParseTarget reads an ID in hex (or in decimal digits, as /health writes it), or the beginning of
// one in hex, alone or behind an endpoint and a slash.
func ParseTarget(s string) (Target, error) {
	wrong := errors.New("want an instance: its ID in hex, the beginning of that, or dyn://namespace.component.endpoint/ID")
	var t Target
	rest := strings.TrimPrefix(s, "dyn://")
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		t.endpoint, rest = "dyn://"+rest[:i], rest[i+1:]
	}
	t.id = strings.TrimPrefix(strings.ToLower(rest), "0x")
	if t.id == "" || strings.Trim(t.id, "0123456789abcdef") != "" || len(t.id) > 20 {
		return Target{}, wrong
	}
	return t, nil
}

// In finds the instances that are meant: all that one worker serves, unless an endpoint was named,
// but for those without a model of a worker that serves one. An error says that there is none, or
// that several workers could be meant.
func (t Target) In(m *client.Mesh) ([]Found, error) {
	all := t.of(m)
	decimal, err := strconv.ParseUint(t.id, 10, 64)
	for _, meant := range []func(mesh.Instance) bool{
		func(i mesh.Instance) bool { return i.ID.String() == t.id },
		func(i mesh.Instance) bool { return strings.HasPrefix(i.ID.String(), t.id) },
		func(i mesh.Instance) bool { return err == nil && i.ID == dynmesh.InstanceID(decimal) },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(f Found) bool { return !meant(f.Instance) })
		if len(found) == 0 {
			continue
		}
		if err := t.checkUnique(found); err != nil {
			return found, err
		}
		if serving := slices.DeleteFunc(slices.Clone(found), func(f Found) bool { return f.Auxiliary }); t.endpoint == "" && len(serving) > 0 {
			found = serving
		}
		return found, nil
	}
	if w := t.rejectedEntry(m); w != "" {
		return nil, fmt.Errorf("no instance %s among the %d that are known: %s", plain.Text(t.id, maxName), len(all), plain.Text(w, maxReason))
	}
	if t.endpoint != "" && len(all) == 0 {
		return nil, fmt.Errorf("no endpoint %s is known: dynmesh status lists those that are", plain.Text(t.endpoint, maxName))
	}
	hint := ": dynmesh status -o wide lists them; of one that has left, dynmesh history " + plain.Text(t.id, maxName) + " may know"
	if !m.At.IsZero() {
		hint = " of then: dynmesh history " + plain.Text(t.id, maxName) + " says when it was there"
	}
	return nil, fmt.Errorf("no instance %s among the %d that are known%s", plain.Text(t.id, maxName), len(all), hint)
}

// rejectedEntry returns what the frontend warns of an entry in a registry that has this ID and
// makes no sense: whoever asks has seen it there.
func (t Target) rejectedEntry(m *client.Mesh) string {
	for _, w := range m.Warnings {
		if key, _, ok := strings.Cut(w, " is left out"); ok && strings.HasSuffix(key, "/"+t.id) {
			return w
		}
	}
	return ""
}

// of returns the instances of the endpoint that was named, or all.
func (t Target) of(m *client.Mesh) []Found {
	var all []Found
	for _, e := range m.Endpoints {
		if t.endpoint != "" && t.endpoint != e.Name {
			continue
		}
		for _, i := range e.Instances {
			all = append(all, Found{e.Name, i})
		}
	}
	return all
}

// checkUnique says which workers could be meant, if they are several.
func (t Target) checkUnique(found []Found) error {
	var ids []dynmesh.InstanceID
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 1 {
		return nil
	}
	var observerNames []string
	for _, id := range ids[:min(maxListed, len(ids))] {
		observerNames = append(observerNames, id.String())
	}
	text := strings.Join(observerNames, ", ")
	if more := len(ids) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("%s begins the IDs of %d workers: %s", t.id, len(ids), text)
}
