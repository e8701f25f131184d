package apiserver

// ManagedBy is the label of EndpointSlices that says who writes them, and Manager what it is on
// those that dynmesh writes.
const (
	ManagedBy = "endpointslice.kubernetes.io/managed-by"
	Manager   = "dynmesh"
)
