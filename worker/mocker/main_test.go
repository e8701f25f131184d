package mocker

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http lingers half a second on a connection whose request it did not read to the end;
		// then it is gone.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"),
	)
}

func newEngine(t *testing.T, k Knobs) *Engine {
	t.Helper()
	e, err := New(Config{Knobs: k})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return e
}

func setKnobs(t *testing.T, e *Engine, k Knobs) {
	t.Helper()
	if err := e.SetKnobs(k); err != nil {
		t.Fatalf("SetKnobs: %v", err)
	}
}
