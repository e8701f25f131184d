//go:build unix

package drill

import (
	"os"
	"os/exec"
	"syscall"
)

// apart has a child be in a group of its own: Ctrl-C is for the drill, which then ends it in order.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
}

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// stdin is os.Stdin in a form in which reading can be broken off.
func stdin() *os.File {
	if err := syscall.SetNonblock(syscall.Stdin, true); err != nil {
		return os.Stdin
	}
	return os.NewFile(uintptr(syscall.Stdin), os.Stdin.Name())
}
