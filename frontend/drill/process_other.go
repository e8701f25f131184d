//go:build !unix

package drill

import (
	"errors"
	"os"
	"os/exec"
)

// apart does nothing: there are no groups of processes here.
func apart(*exec.Cmd) {}

func freeze(*os.Process) error { return errors.New("processes cannot be stopped on this system") }

func stdin() *os.File { return os.Stdin }
