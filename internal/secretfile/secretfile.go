package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxSize bounds a file, in bytes: nothing that is read here is longer.
const maxSize = 64 << 10

// others are the permissions of those who are neither the owner nor of the file's group.
const others fs.FileMode = 0o007

// Read returns what a file has, unless others can use it. A group may: it is given to those who are
// to read it. So may others where the file is on what is mounted to be read only, as Kubernetes,
// Swarm and Compose mount secrets for one container, on tmpfs or not: nobody else is there.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info.Mode(), func() bool { return isMountedSecret(f) }); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(content) > maxSize {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSize)
	}
	return content, err
}

// check refuses what others can use.
func check(path string, mode fs.FileMode, mounted func() bool) error {
	if mode.Perm()&others == 0 || mode.Perm()&others == 0o004 && mounted() {
		return nil
	}
	return fmt.Errorf("%s can be used by everybody on this host (its mode is %04o): want 0600, or 0640 for a group", path, mode.Perm())
}
