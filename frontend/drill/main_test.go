package drill

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// actsAs is set where this program is a phantom of TestProcess.
const actsAs = "DYNMESH_TEST_PHANTOM"

func TestMain(m *testing.M) {
	if act := os.Getenv(actsAs); act != "" {
		os.Exit(phantom(act))
	}
	goleak.VerifyTestMain(m)
}

// lateDrill starts a phantom, says which process it is, and waits to be killed.
func lateDrill(frozen bool) (code int) {
	p, err := Start(context.Background(), os.Args[0], nil, []string{actsAs + "=well"})
	if err == nil && frozen {
		err = p.Freeze()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.cmd.Process.Pid)
	<-p.Ended()
	return 0
}

// phantom is what a child process does.
func phantom(act string) (code int) {
	fmt.Fprintln(os.Stderr, "a phantom says something")
	switch act {
	case "drill", "drill-frozen":
		return lateDrill(act == "drill-frozen")
	case "garbage":
		fmt.Println("usage: something else")
	case "crash":
		fmt.Fprintln(os.Stderr, "no etcd")
		return 3
	case "silent":
	default:
		fmt.Println("694d9b90ff8deb4b")
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		fmt.Fprintln(os.Stderr, "told to "+orders.Text())
		if orders.Text() == "crash" {
			return 4
		}
	}
	return 0
}
