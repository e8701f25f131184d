package verdict

// Registry is the name of what lists instances: one of those below, or a program's own. Empty:
// there are several.
type Registry string

// The registries of which reasons know more than the name.
const (
	Etcd       Registry = "etcd"
	Kubernetes Registry = "kubernetes"
	File       Registry = "file"
	Static     Registry = "static"
)

// String returns what people call it.
func (r Registry) String() string {
	switch r {
	case Etcd:
		return "etcd"
	case Kubernetes:
		return "Kubernetes"
	case Static:
		return "the static file"
	}
	return "the registry"
}

// leased says whether the instance is listed for no longer than its worker renews that. Of several
// registries, it is one in which workers of dynmesh are listed.
func (e Evidence) leased() bool {
	return e.Registry == Etcd || e.Registry == File || e.Registry == "" && e.Worker.LeaseTTL != 0
}

// voucher is what vouches for an instance whose worker says nothing.
func (e Evidence) voucher() string {
	if e.leased() {
		return "its lease in " + e.Registry.String()
	}
	return e.Registry.String()
}
