// Package failures notices that a part of an endpoint's real requests fails while others succeed:
// of one kind, at one adapter, or between one prefill engine and this one. Three failures in a row
// make an endpoint not ready; these never are in a row.
//
// [Watch] is a worker's measurer: it says what it has noticed, and that it is over. Where requests
// say who has read their prompt, failures are counted for each of those engines as well; where they
// are those of one, and all others are answered, that one is named, and they may be few among many.
package failures
