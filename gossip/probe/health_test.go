package probe

import (
	"testing"
	"time"
)

// A doubt that ends between the question whether witnesses are due and the answer leaves nothing
// due: whoever ticks until nothing is would go on for ever.
func TestWitnessesAreNotDueAfterTheDoubt(t *testing.T) {
	h := newLocalHealth(1)
	h.suspect(0)
	h.due(0)
	h.suspect(100 * time.Millisecond)
	for now := 200 * time.Millisecond; now < suspicious; now += witnessInterval {
		h.due(now)
	}
	asked := suspicious // before the end of the doubt, and after the time of the next pings
	if h.wake(asked) > asked {
		t.Fatalf("nothing is due at %v", asked)
	}
	if h.due(suspicious + 100*time.Millisecond) {
		t.Fatal("witnesses are pinged after the doubt")
	}
	if at := h.wake(asked); at <= asked {
		t.Errorf("at %v witnesses are still due at %v", asked, at)
	}
	h.suspect(asked)
	if at := h.wake(asked); at > asked+witnessInterval {
		t.Errorf("a new doubt has witnesses pinged at %v only", at)
	}
	if h.suspect(10 * time.Second); h.wake(10*time.Second) != 10*time.Second {
		t.Error("a doubt after a while has no witnesses pinged at once")
	}
}
