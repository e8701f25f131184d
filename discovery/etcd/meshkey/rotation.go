package meshkey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// The timing of a rotation.
const (
	callTimeout = 5 * time.Second
	pollEvery   = 500 * time.Millisecond
	maxNamed    = 10 // members that an error names
)

// Rotation replaces the key of a mesh. Each step is one transaction on what was read, so that a
// rotation can be interrupted at any moment, and run again, which goes on where the other ended; of
// two that run at once, each takes the steps that the other has not.
type Rotation struct {
	Client  *clientv3.Client
	Members func(context.Context) ([]dynmesh.RegisteredMember, error) // all that are registered

	// Within is how long members may take to say that they have taken a step. Settle is how long it
	// stands at least: members that may not write to etcd cannot say so.
	Within, Settle time.Duration

	Say func(line string) // is told how far it is
}

// Run returns nil when the old key is understood by nobody any longer, and an error when that
// cannot be done now: what etcd holds then is a step at which all members understand each other.
func (r Rotation) Run(ctx context.Context) error {
	begun, resumed := false, false
	for {
		value, revision, err := r.read(ctx)
		switch {
		case err != nil:
			return err
		case revision == 0:
			made, err := r.put(ctx, New(), 0)
			if err != nil {
				return fmt.Errorf("put a key at %s: %w", Path, err)
			}
			if made {
				r.Say("etcd had no gossip key for the mesh, and has one now: members take it over at once")
				return nil
			}
			continue // somebody else has: that one is to be replaced
		case value.Resting() && begun:
			r.Say("Done: nobody understands the old key any longer")
			return nil
		case value.Resting():
		default:
			if !begun && !resumed {
				resumed = true
				r.Say("A rotation was begun before: going on with it")
			}
			begun = true
			current, err := r.await(ctx, value, revision)
			if err != nil {
				return fmt.Errorf("%w. Nobody is cut off: run it again to go on", err)
			}
			if !current {
				continue // another rotation has gone on
			}
		}
		replaced, err := r.put(ctx, value.advance(), revision)
		if err != nil {
			return fmt.Errorf("put the next step at %s: %w. Nobody is cut off: run it again to go on", Path, err)
		}
		begun = begun || replaced // else what rests next may be what a member has put back meanwhile
	}
}

// read returns what etcd holds; revision 0: nothing.
func (r Rotation) read(ctx context.Context) (value Value, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := r.Client.Get(ctx, Path)
	if err != nil {
		return Value{}, 0, fmt.Errorf("read %s: %w", Path, err)
	}
	if len(got.Kvs) == 0 {
		return Value{}, 0, nil
	}
	if value, err = Decode(got.Kvs[0].Value); err != nil {
		return Value{}, 0, fmt.Errorf("what etcd holds at %s is not the keys of a mesh: %w. It is left as it is; "+
			"where it is deleted, members that run put back their keys", Path, err)
	}
	return value, got.Kvs[0].ModRevision, nil
}

// put does nothing where the entry has changed since it was read; revision 0: where there is one.
func (r Rotation) put(ctx context.Context, value Value, revision int64) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, done, err = put(ctx, r.Client, value, revision)
	return done, err
}

// await waits until all members that use etcd's keys say that they have taken the value. It returns
// false where it is no longer what etcd holds.
func (r Rotation) await(ctx context.Context, value Value, revision int64) (current bool, err error) {
	what := "use the new key"
	if value.Next != "" {
		what = "understand the new key"
	}
	began, told := time.Now(), -1
	var failed error // the last look
	for {
		var late []string
		all := 0
		if _, now, readErr := r.read(ctx); readErr != nil {
			failed = readErr
		} else if now != revision {
			return false, nil
		} else {
			late, all, failed = r.late(ctx, value.Step())
		}
		done := all - len(late)
		if failed == nil && done != told {
			told = done
			r.Say(fmt.Sprintf("%d of %d members %s", done, all, what))
		}
		switch waited := time.Since(began); {
		case failed == nil && len(late) == 0 && waited >= r.Settle:
			return true, nil
		case waited < max(r.Within, r.Settle):
		case failed != nil:
			return false, failed
		default:
			return false, fmt.Errorf("%d of %d members did not %s within %v: %s", len(late), all, what, r.Within, named(late))
		}
		if err := timers.Sleep(ctx, pollEvery); err != nil {
			return false, fmt.Errorf("interrupted: %w", cmp.Or(context.Cause(ctx), err))
		}
	}
}

// late returns the members that have not taken a step, of all that use etcd's keys. Those that have
// none gossip with nobody, and hold nobody up.
func (r Rotation) late(ctx context.Context, step string) (late []string, all int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := r.Members(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read who is registered: %w", err)
	}
	for _, m := range members {
		if m.GossipKey != dynmesh.KeyOfRegistry {
			continue
		}
		all++
		if m.KeyStep != step {
			late = append(late, fmt.Sprintf("%s %s on %s", m.Role, m.ID, m.Host))
		}
	}
	slices.Sort(late)
	return late, all, nil
}

func named(late []string) string {
	text := strings.Join(late[:min(len(late), maxNamed)], ", ")
	if more := len(late) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
