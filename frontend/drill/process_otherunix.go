//go:build unix && !linux

package drill

import "syscall"

// endWithParent does nothing: the kernel has a group that is stopped, and left by its parent, go on
// (POSIX: an orphaned process group), and the child then sees the end of its pipe.
func endWithParent(*syscall.SysProcAttr) {}
