//go:build unix

package budget

import (
	"math"
	"syscall"
)

// maxFiles is how many files this process may have open; 0: any number. Go has raised it as far as
// it may.
func maxFiles() int64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return 0
	}
	return int64(limit.Cur)
}
