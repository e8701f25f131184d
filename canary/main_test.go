package canary

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http's server lingers half a second on a connection whose request it did not read to
		// the end.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"),
	)
}

const patience = 10 * time.Second // for what takes milliseconds on an idle machine
