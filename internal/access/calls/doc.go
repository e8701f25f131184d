// Package calls has [access] judge gRPC's calls: the same certificates, the same tokens. It is for
// whatever serves gRPC. It stands by itself so that what serves HTTP alone does not link gRPC.
package calls
