package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory has Go collect garbage before the memory limit of the container is reached, which
// would end the process. GOMEMLIMIT overrules it.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := containerMemory("/sys/fs/cgroup"); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9) // the rest is for what is not Go's: stacks of the kernel, the program
	}
}

// containerMemory is the memory limit of the control group whose files are in root, in bytes; 0:
// there is none.
func containerMemory(root string) int64 {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} { // of version 2, and 1
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/2 { // max; or version 1's word for it
			return 0
		}
		return n
	}
	return 0
}
