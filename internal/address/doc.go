// Package address decides to which addresses this process connects that somebody else has named: a
// registry, a member, a resolver. It is for whatever dials such an address, and for whoever tells
// people why it was not dialled. It links the standard library only, and sends nothing.
package address
