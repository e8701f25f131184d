package static

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Bounds on what is read.
const (
	maxFileSize  = 16 << 20
	maxShown     = 100 // bytes of a value that an error repeats
	wantAddress  = "want http://host:port, https://host:port, tcp://host:port or host:port"
	wantEndpoint = "want namespace.component.endpoint"
)

// lineError says what is wrong with which line of a file.
type lineError struct {
	line   int
	detail string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.detail) }

func wrong(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, fmt.Sprintf(format, args...)}
}

// parse returns what a file lists. Its error is a *lineError.
func parse(data []byte) (map[dynmesh.InstanceKey]dynmesh.Instance, error) {
	all := make(map[dynmesh.InstanceKey]dynmesh.Instance)
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return all, nil
	case err != nil:
		return nil, syntaxError(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &lineError{1, "the file has several documents: want one"}
	}
	root := document.Content[0]
	if root.Tag == "!!null" {
		return all, nil
	}
	if root.Kind != yaml.SequenceNode {
		return nil, wrong(root, "want a list of endpoints, each with addresses")
	}
	lines := make(map[dynmesh.InstanceKey]int)
	for _, item := range root.Content {
		if err := parseEndpoint(item, all, lines); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// syntaxError reads the line out of what the YAML library says.
func syntaxError(err error) error {
	detail := strings.TrimPrefix(err.Error(), "yaml: ")
	if match := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(detail); match != nil {
		line, _ := strconv.Atoi(match[1]) // digits; 0 if they are too many
		return &lineError{line, "not YAML: " + strings.TrimPrefix(detail, match[0])}
	}
	return &lineError{1, "not YAML: " + detail}
}

// parseEndpoint adds what one item of the list says.
func parseEndpoint(item *yaml.Node, all map[dynmesh.InstanceKey]dynmesh.Instance, lines map[dynmesh.InstanceKey]int) error {
	fields, err := parseMapping(item, "endpoint", "addresses")
	if err != nil {
		return err
	}
	name, addresses := fields["endpoint"], fields["addresses"]
	switch {
	case name == nil:
		return wrong(item, "endpoint is missing: "+wantEndpoint)
	case name.Kind != yaml.ScalarNode:
		return wrong(name, "endpoint is not a text: "+wantEndpoint)
	case addresses == nil || addresses.Kind != yaml.SequenceNode:
		return wrong(item, "addresses are missing: want a list")
	}
	endpoint, err := dynmesh.ParseEndpoint("dyn://" + strings.TrimPrefix(name.Value, "dyn://"))
	if err != nil {
		return wrong(name, "endpoint %q: "+wantEndpoint+" of A-Z a-z 0-9 _ -", text.Line(name.Value, maxShown))
	}
	for _, a := range addresses.Content {
		i, err := parseAddress(endpoint, a)
		if err != nil {
			return err
		}
		if before, ok := lines[i.InstanceKey]; ok {
			return wrong(a, "the worker %s serves %s by line %d already: want each once", i.ID, endpoint, before)
		}
		lines[i.InstanceKey] = a.Line
		all[i.InstanceKey] = i
	}
	return nil
}

// target returns what an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// parseMapping returns the values of a mapping that may have these keys.
func parseMapping(n *yaml.Node, keys ...string) (map[string]*yaml.Node, error) {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		return nil, wrong(n, "want %s", strings.Join(keys, " and "))
	}
	fields := make(map[string]*yaml.Node)
	for i := 0; i < len(n.Content); i += 2 {
		key, known := n.Content[i], false
		for _, k := range keys {
			known = known || key.Value == k
		}
		switch {
		case !known:
			return nil, wrong(key, "unknown key %q: want %s", text.Line(key.Value, maxShown), strings.Join(keys, " and "))
		case fields[key.Value] != nil:
			return nil, wrong(key, "%s is there twice", key.Value)
		}
		fields[key.Value] = target(n.Content[i+1])
	}
	return fields, nil
}

// parseAddress returns the instance at one address.
func parseAddress(endpoint dynmesh.Endpoint, n *yaml.Node) (i dynmesh.Instance, err error) {
	n = target(n)
	address, id := n, (*yaml.Node)(nil)
	if n.Kind == yaml.MappingNode {
		fields, err := parseMapping(n, "address", "id")
		if err != nil {
			return i, err
		}
		address, id = fields["address"], fields["id"]
	}
	if address == nil || address.Kind != yaml.ScalarNode {
		return i, wrong(n, "address is missing: "+wantAddress)
	}
	host, transport, ok := parseTransport(address.Value)
	if !ok {
		return i, wrong(address, "address %q: "+wantAddress, text.URL(address.Value))
	}
	i = dynmesh.Instance{InstanceKey: dynmesh.InstanceKey{Endpoint: endpoint, ID: discovery.HashID(host)}, Transport: transport}
	if id != nil {
		if i.ID, err = dynmesh.ParseInstanceID(id.Value); err != nil {
			return i, wrong(id, "id %q: want up to 16 digits of lower-case hexadecimal, without zeros in front", text.Line(id.Value, maxShown))
		}
	}
	return i, nil
}

// parseTransport also returns host:port, which names the worker.
func parseTransport(address string) (host string, transport []byte, ok bool) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", nil, false
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", nil, false
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		return "", nil, false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host, dynmesh.HTTPTransport(strings.TrimSuffix(u.String(), "/")), true
	case "tcp":
		if u.Path == "" {
			return u.Host, text.JSON(map[string]string{"tcp": u.Host}), true
		}
	}
	return "", nil, false
}
