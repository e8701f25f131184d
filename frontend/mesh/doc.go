// Package mesh is the JSON of a frontend's answer at /mesh: what the frontend writes and what its
// clients read are the same types. The order of fields is that of the answer.
//
// It links the standard library and package dynmesh only.
package mesh
