// Package cause says what workers that fail have in common: the host, rack, version or other label
// that explains why these fail and others do not. It is for the frontend. All of it is pure: no
// clock, no socket, no goroutine.
//
// A [Table] holds the workers of a fleet with their labels; [Table.Conclude] returns the [Cause]s.
// The test's table is the specification; this is it in short.
//
// # When a label explains
//
//	all or nearly all that have it fail   at least 2 workers, and 80 % of them
//	the rest does not                     it fails at most half as often. Those that another value
//	                                      of the same name explains (a second rack) are no rest. A
//	                                      single worker is enough of a rest only where all that
//	                                      have the label fail
//	it is no coincidence                  were failures spread evenly over the rest, at most 0.05
//	                                      values of that name would fail so
//	it has lasted                         [Dwell]: while a rack goes down, the rack is named, and
//	                                      not one host of it after the other
//
// So a label that all share explains nothing. Where no label explains, and 80 % of all fail, the
// fleet is named, once.
//
// # Which label is named
//
// The one with the most failing workers, those that work counted twice against it; of equal ones
// the narrower, then by a fixed order, in which places come first. What it explains is set aside,
// and the rest is looked at again. Labels of exactly the same workers stand beside it: host h7
// (also rack r3).
//
// A cause that was named goes on until fewer than 60 % of its workers fail, or another explains the
// same. That is more than half, so that as many new workers as were lost end it, wherever they
// stand.
//
// # Those that vanish
//
// A lease ends seconds after its worker was lost, and the registry lists it no longer. It stays a
// failure ([Vanished]) until a worker comes in its place, for [Remember] at most: a rack that is
// lost is not well once nobody lists it.
package cause
