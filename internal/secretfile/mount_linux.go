package secretfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// isMountedSecret says whether a file is on a memory file system that is mounted to be read only.
func isMountedSecret(f *os.File) bool {
	var on unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &on) != nil {
		return false
	}
	return int64(on.Type) == unix.TMPFS_MAGIC && //nolint:unconvert // it is 32 bits on some machines
		on.Flags&unix.ST_RDONLY != 0
}
