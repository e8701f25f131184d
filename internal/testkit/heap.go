package testkit

import "runtime"

// HeapInUse is how many bytes of the heap can be reached.
func HeapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the second frees what sync.Pool held through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
