//go:build !linux

package secretfile

import "os"

// isMountedSecret is known on Linux only.
func isMountedSecret(*os.File) bool { return false }
