//go:build race

package gossip

import "runtime"

// prepare makes one processor of all. The race detector of Go 1.26 can crash where a bubble of
// testing/synctest runs on more than one: two goroutines that find a ticker due, as memberlist's do
// all the time, run its timer in one race context at once (maybeRunChan, in the runtime's time.go),
// and a CHECK of ThreadSanitizer fails. What it finds does not depend on who runs at the same time,
// but on what orders them. As many tests run at once as before: testing has counted already.
func prepare() { runtime.GOMAXPROCS(1) }
