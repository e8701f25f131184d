package secretfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// isMountedSecret says whether a file is on what is mounted to be read only.
func isMountedSecret(f *os.File) bool {
	var on unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &on) == nil && on.Flags&unix.ST_RDONLY != 0
}
