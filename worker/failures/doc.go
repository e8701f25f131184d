// Package failures notices that a part of an endpoint's real requests fails while others succeed:
// between one prefill engine and this one, of one kind, at one adapter. Three failures in a row
// make an endpoint not ready; these never are in a row.
//
// [Watch] is a worker's measurer: it says what it has noticed, and that it is over.
package failures
