package probe

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

type id = dynmesh.InstanceID

// bruteForce is what rendezvous hashing is defined as: all watchers but the target, sorted by their
// scores.
func bruteForce(target id, watchers map[id]bool) []id {
	all := slices.Collect(maps.Keys(watchers))
	all = slices.DeleteFunc(all, func(w id) bool { return w == target })
	slices.SortFunc(all, func(a, b id) int { return cmp.Compare(score(target, b), score(target, a)) })
	if len(all) == 0 {
		return nil
	}
	return all[:min(Watchers, len(all))]
}

// Whatever comes and goes, in any order, each target has the watchers that it had if all were
// assigned anew, and what is told of gains and losses is exactly what has changed.
func TestAssignmentIsThatOfBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.Custom(func(t *rapid.T) id { return id(rapid.IntRange(1, 12).Draw(t, "id")) })
		self := ids.Draw(t, "self")
		a := NewAssignment(self)
		watchers, targets, mine := map[id]bool{self: true}, map[id]bool{}, map[id]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				w := ids.Draw(t, "watcher")
				watchers[w] = true
				for _, target := range a.Join(w) {
					if !mine[target] {
						t.Fatalf("lost %v, which was not ours", target)
					}
					delete(mine, target)
				}
			},
			"leave": func(t *rapid.T) {
				w := ids.Draw(t, "watcher")
				if w != self {
					delete(watchers, w)
				}
				for _, target := range a.Leave(w) {
					if mine[target] {
						t.Fatalf("gained %v, which was ours already", target)
					}
					mine[target] = true
				}
			},
			"add": func(t *rapid.T) {
				target := ids.Draw(t, "target")
				targets[target] = true
				if a.Add(target) {
					mine[target] = true
				}
			},
			"remove": func(t *rapid.T) {
				target := ids.Draw(t, "target")
				delete(targets, target)
				delete(mine, target)
				a.Remove(target)
			},
			"": func(t *rapid.T) {
				for target := id(1); target <= 12; target++ {
					var want []id
					if targets[target] {
						want = bruteForce(target, watchers)
					}
					if got := a.Of(target); !slices.Equal(got, want) {
						t.Fatalf("watchers of %v: got %v, want %v", target, got, want)
					}
					if got, want := mine[target], slices.Contains(want, self); got != want || a.Mine(target) != want {
						t.Fatalf("%v is ours: told %v, Mine %v, want %v", target, got, a.Mine(target), want)
					}
				}
			},
		})
	})
}

// A change moves only its own share of the targets, about Watchers in n, and the load is even.
func TestAssignmentMovesOnlyItsShare(t *testing.T) {
	for name, next := range map[string]func(i int) id{
		"random IDs":         func(int) id { return dynmesh.NewInstanceID() },
		"IDs that are alike": func(i int) id { return 0x694d9b90ff8d0000 + id(i) },
	} {
		t.Run(name, func(t *testing.T) {
			const members, targets = 50, 10_000
			var ids []id
			for i := range members + targets + 1 {
				ids = append(ids, next(i))
			}
			self, others, newcomer := ids[0], ids[1:members], ids[members]
			a := NewAssignment(self)
			for _, w := range others {
				a.Join(w)
			}
			load := map[id]int{}
			before := map[id][]id{}
			for _, target := range ids[members+1:] {
				a.Add(target)
				before[target] = a.Of(target)
				for _, w := range before[target] {
					load[w]++
				}
			}
			const even = targets * Watchers / members
			for w, n := range load {
				if n < even*3/4 || n > even*5/4 {
					t.Errorf("%v watches %d, want about %d", w, n, even)
				}
			}
			a.Join(newcomer)
			moved := 0
			for target, was := range before {
				if !slices.Equal(a.Of(target), was) {
					moved++
					if !slices.Contains(a.Of(target), newcomer) {
						t.Fatalf("%v moved from %v to %v, and not to the newcomer", target, was, a.Of(target))
					}
				}
			}
			if want := targets * Watchers / (members + 1); moved < want*3/4 || moved > want*5/4 {
				t.Errorf("%d targets moved to the newcomer, want about %d", moved, want)
			}
			a.Leave(newcomer)
			for target, was := range before {
				if !slices.Equal(a.Of(target), was) {
					t.Fatalf("%v: got %v after the newcomer left, want %v as before it came", target, a.Of(target), was)
				}
			}
		})
	}
}

func BenchmarkAssignmentJoinLeave(b *testing.B) {
	a := NewAssignment(1)
	for i := range 1000 {
		a.Join(id(i + 1))
	}
	for range 10_000 {
		a.Add(id(rand.Uint64()))
	}
	for b.Loop() {
		a.Join(5000)
		a.Leave(5000)
	}
}
