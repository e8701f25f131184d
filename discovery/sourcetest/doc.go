// Package sourcetest holds a discovery.Source against its contract.
//
// A source's own tests make a registry, hand it to [Test], and get one subtest for each clause:
//
//	func TestConformance(t *testing.T) {
//		sourcetest.Test(t, func(t *testing.T) sourcetest.Registry { … })
//	}
//
// [View] is a consumer of updates that checks each of them. It serves tests of one source alone,
// too.
package sourcetest
