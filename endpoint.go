package dynmesh

import (
	"cmp"
	"fmt"
	"strings"
)

// MaxNameLength is the most characters that each part of an endpoint's name may have.
const MaxNameLength = 255

const endpointScheme = "dyn://"

// DrillNamespace is where dynmesh drill has its phantoms: workers that are there to be broken. What
// is in it has a verdict, as every instance has, and is nothing that serves. It stands in /mesh and
// what follows changes; expectations, outputs, /health, causes and metrics of the fleet pass it
// over.
const DrillNamespace = "dynmesh-drill"

// Endpoint names one endpoint by Dynamo's three levels. It is comparable, and its zero value names
// nothing.
type Endpoint struct {
	Namespace string // group of components that belong together, such as one deployment
	Component string // kind of worker, such as "backend" or "prefill"
	Name      string // what is called, such as "generate"
}

// ParseEndpoint reads the form that String writes: dyn://namespace.component.endpoint.
func ParseEndpoint(s string) (Endpoint, error) {
	rest, ok := strings.CutPrefix(s, endpointScheme)
	if !ok {
		return Endpoint{}, fmt.Errorf("endpoint %q: want dyn://namespace.component.endpoint", s)
	}
	parts := strings.Split(rest, ".")
	if len(parts) != 3 {
		return Endpoint{}, fmt.Errorf("endpoint %q: has %d parts, want dyn://namespace.component.endpoint", s, len(parts))
	}
	e := Endpoint{Namespace: parts[0], Component: parts[1], Name: parts[2]}
	if err := e.Validate(); err != nil {
		return Endpoint{}, fmt.Errorf("endpoint %q: %w", s, err)
	}
	return e, nil
}

// String returns dyn://namespace.component.endpoint.
func (e Endpoint) String() string {
	return endpointScheme + e.Namespace + "." + e.Component + "." + e.Name
}

// Validate says which part, if any, dynmesh would refuse to register. Names that others wrote into
// registries are listed as they are and need not pass.
func (e Endpoint) Validate() error {
	for _, part := range []struct{ what, name string }{
		{"namespace", e.Namespace}, {"component", e.Component}, {"endpoint", e.Name},
	} {
		if err := validateName(part.what, part.name); err != nil {
			return err
		}
	}
	return nil
}

// IsDrill says whether an endpoint is a phantom's: see [DrillNamespace].
func (e Endpoint) IsDrill() bool { return e.Namespace == DrillNamespace }

// Compare orders endpoints by namespace, component and name.
func (e Endpoint) Compare(o Endpoint) int {
	return cmp.Or(
		strings.Compare(e.Namespace, o.Namespace),
		strings.Compare(e.Component, o.Component),
		strings.Compare(e.Name, o.Name),
	)
}

func validateName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%s name is empty: want 1 to %d characters of A-Z a-z 0-9 _ -", what, MaxNameLength)
	}
	if len(name) > MaxNameLength {
		return fmt.Errorf("%s name has %d characters: want at most %d", what, len(name), MaxNameLength)
	}
	for _, r := range name {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_', r == '-':
		default:
			return fmt.Errorf("%s name %q has the character %q: want A-Z a-z 0-9 _ - only", what, name, r)
		}
	}
	return nil
}
