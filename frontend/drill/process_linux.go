package drill

import "syscall"

// endWithParent has the kernel kill a child when its parent is gone: a child that is stopped does
// not see the end of its pipe.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
