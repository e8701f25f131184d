package drill

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A drill that is killed takes its phantom along, also one that is stopped.
func TestKilledDrill(t *testing.T) {
	for _, act := range []string{"drill", "drill-frozen"} {
		t.Run(act, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), actsAs+"="+act)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			lines.Scan() // once the phantom is there
			pid, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Errorf("got %q, want the phantom's process", lines.Text())
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // it was killed
			for began := time.Now(); runs(pid); time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > patience {
					t.Fatalf("phantom %d is still there", pid)
				}
			}
		})
	}
}

// runs says whether a process is there that is no zombie, which its new parent may not look after.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !strings.HasPrefix(string(after), "Z") && !strings.HasPrefix(string(after), "X")
}
