package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// barePool is memberlist alone, with its own settings: one member for each worker, broken along
// with it, and one that nobody breaks, whose view is read.
type barePool struct {
	world    *world
	observer program
	members  []program
}

func (w *world) startBare(members int) *barePool {
	w.t.Helper()
	b := &barePool{world: w}
	b.observer = b.launch("observer", "")
	for i := range members {
		b.members = append(b.members, b.launch(fmt.Sprintf("bare%d", i), b.observer.where().reach(gossipPort)))
	}
	for i := range members {
		b.await(i, "alive", time.Now().Add(-time.Hour))
	}
	return b
}

func (b *barePool) launch(name, join string) program {
	p := b.world.site.reserve(name, gossipPort)
	return b.world.launch(spec{place: p, binary: bareBinary, args: []string{
		"-name", name, "-advertise", p.peer, "-port", p.number(gossipPort), "-join", join,
	}})
}

// await returns how long after since the observer first said this of a member.
func (b *barePool) await(i int, word string, since time.Time) time.Duration {
	b.world.t.Helper()
	var after time.Duration
	eventually(b.world.t, 2*time.Minute, fmt.Sprintf("bare memberlist says that member %d is %s", i, word), func() error {
		log, err := b.observer.logs()
		if err != nil {
			return err
		}
		for line := range strings.Lines(log) {
			at, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			when, err := time.Parse(time.RFC3339Nano, at)
			if err == nil && rest == word+" "+b.members[i].where().name && when.After(since) {
				after = when.Sub(since)
				return nil
			}
		}
		return fmt.Errorf("it has not said so")
	})
	return after
}

// deaths counts how often the observer declared somebody dead.
func (b *barePool) deaths(t *testing.T, since time.Time) (n int) {
	t.Helper()
	log, err := b.observer.logs()
	b.world.must("log of the bare observer", err)
	for line := range strings.Lines(log) {
		at, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if when, err := time.Parse(time.RFC3339Nano, at); err == nil && when.After(since) && strings.HasPrefix(rest, "dead ") {
			n++
		}
	}
	return n
}

// settle waits until the observer counts all members as alive: one that was cut off tells others,
// as it comes back, whom it held for dead meanwhile, and such a word would be taken for the next
// fault's.
func (b *barePool) settle() {
	b.world.t.Helper()
	quiet := time.Time{} // since when all are alive
	eventually(b.world.t, 2*time.Minute, "bare memberlist counts all members as alive, and says nothing else for a second", func() error {
		log, err := b.observer.logs()
		if err != nil {
			return err
		}
		last := map[string]string{}
		for line := range strings.Lines(log) {
			if word := strings.Fields(line); len(word) == 3 {
				last[word[2]] = word[1]
			}
		}
		for _, m := range b.members {
			if word := last[m.where().name]; word != "alive" {
				quiet = time.Time{}
				return fmt.Errorf("%s is %s", m.where().name, word)
			}
		}
		if quiet.IsZero() {
			quiet = time.Now()
		}
		if time.Since(quiet) < time.Second {
			return fmt.Errorf("only just")
		}
		return nil
	})
}

// restart returns once the member is back.
func (b *barePool) restart(i int) {
	b.world.t.Helper()
	b.world.awaitEnd(b.members[i])
	began := time.Now()
	b.world.must("start bare member", b.members[i].start(sameDisk))
	b.await(i, "alive", began)
}
