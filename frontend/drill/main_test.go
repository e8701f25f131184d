package drill

import (
	"bufio"
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

// phantom is what a child process does.
func phantom(act string) (code int) {
	fmt.Fprintln(os.Stderr, "a phantom says something")
	switch act {
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
	if act == "stays" {
		select {}
	}
	return 0
}
