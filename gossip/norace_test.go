//go:build !race

package gossip

// prepare has nothing to do without the race detector.
func prepare() {}
