// Package dynmesh holds the words of the mesh: what an endpoint, an instance, a member, an
// observation and a verdict are, and how they stand in a registry and in JSON. Everybody may use
// it. It links the standard library only, does nothing by itself, and all of its types are values.
package dynmesh
