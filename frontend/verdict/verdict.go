package verdict

import (
	"github.com/dynmesh/dynmesh"
)

// Unwell is the health score of memberlist from which this process may itself be what is slow or
// cut off.
const Unwell = 3

// States are those of a verdict, in the order in which they are counted and shown.
func States() [4]dynmesh.VerdictState {
	return [...]dynmesh.VerdictState{dynmesh.Ready, dynmesh.NotReady, dynmesh.Unreachable, dynmesh.Draining}
}

// Of concludes. The first rule that fits decides.
func Of(e Evidence) dynmesh.Verdict {
	if !e.Gossip {
		e.Worker, e.Own, e.Unreported, e.Unspoken, e.Paths = Worker{Dynmesh: e.Worker.Dynmesh}, nil, false, false, nil
	}
	v := dynmesh.Verdict{State: dynmesh.Ready}
	switch {
	case e.draining():
		v.State = dynmesh.Draining
	case e.unreachable():
		v.State = dynmesh.Unreachable
	case e.notReady():
		v.State = dynmesh.NotReady
	default:
		v.Verified = e.verified()
	}
	v.Reasons = e.reasons(v)
	return v
}

// draining: the process said so, and is there to finish what it has.
func (e Evidence) draining() bool {
	return e.announced() && !e.isDead() || e.asked(func(p Path) bool { return p.Draining }) != nil
}

// asked returns what somebody found who has asked a worker that is no member, by its system port or
// by canaries, if it fits and counts. A member's own word is worth more.
func (e Evidence) asked(fits func(Path) bool) *Path {
	if e.Worker.State != "" {
		return nil
	}
	for n := range e.Paths {
		if p := &e.Paths[n]; (p.Kind == dynmesh.KindSystem || p.Kind == dynmesh.KindPinned) && p.Counts() && fits(*p) {
			return p
		}
	}
	return nil
}

// frozen: a process that is stopped answers nothing, while its kernel goes on accepting
// connections, which is all that others see of it.
func (p Path) frozen() bool {
	return p.Kind == dynmesh.KindSystem && p.Finding == dynmesh.Fail && p.Reason == dynmesh.ReasonFrozen
}

// unready: the system port says of the endpoint that it is not ready, or canaries fail.
func (p Path) unready() bool {
	return p.Finding == dynmesh.Fail && (p.Kind == dynmesh.KindPinned || p.Kind == dynmesh.KindSystem && p.Reason != dynmesh.ReasonFrozen)
}

// proven: canaries pass.
func (p Path) proven() bool { return p.Kind == dynmesh.KindPinned && p.Finding == dynmesh.Pass }

// announced says whether the process has told that it shuts down.
func (e Evidence) announced() bool {
	return e.Worker.Process != nil && e.Worker.Process.Draining
}

// isDead says whether gossip counts the worker as lost, by good-bye or by silence.
func (e Evidence) isDead() bool {
	return e.Worker.State == dynmesh.Dead || e.Worker.State == dynmesh.Left
}

func (e Evidence) unreachable() bool {
	passes, fails := e.tally()
	switch {
	case e.Worker.State == dynmesh.Left:
		return true // its own word
	case fails >= 2 && fails > passes:
		return true
	case e.Worker.State == dynmesh.Dead:
		// An unwell process loses members that are well: then somebody else has to say so too.
		return passes == 0 && (e.Score < Unwell || fails > 0)
	case e.Worker.State == "":
		// No gossip to wait for: the watchers that there are.
		return passes == 0 && fails > 0 || e.asked(Path.frozen) != nil
	}
	return e.closed() || e.stillUnreachable()
}

// stillUnreachable says whether nothing has come to light for an instance that is Unreachable.
// That watchers fall silent, gone or cut off themselves, is no sign of life.
func (e Evidence) stillUnreachable() bool {
	passes, _ := e.tally()
	back := e.Worker.State == dynmesh.Alive && !e.Worker.Since.Before(e.UnreachableSince)
	return !e.UnreachableSince.IsZero() && e.isAlive() && passes == 0 && !back
}

// tally counts what watchers say, of those that count.
func (e Evidence) tally() (passes, fails int) {
	for _, p := range e.Paths {
		switch {
		case !p.Counts():
		case p.reaches():
			passes++
		default:
			fails++
		}
	}
	return passes, fails
}

// closed says whether the only watcher that counts has proof that the host is there and the
// process is not, where nothing more is to be had: gossip suspects the worker, too, or nobody is
// left to ask. Gossip's own judgement waits for members to confirm it, and takes half a minute
// where all of those are gone.
func (e Evidence) closed() bool {
	passes, fails := e.tally()
	confirmed := e.Worker.State == dynmesh.Suspect || e.Worker.State == dynmesh.Alive && e.Alone
	return confirmed && passes == 0 && fails == 1 && e.proven()
}

// proven says whether a watcher heard of the failure from the worker's kernel, which refused a
// connection, or took it for a process that then did not answer. A watcher that is itself cut off
// hears neither.
func (e Evidence) proven() bool {
	for _, p := range e.Paths {
		if p.Counts() && p.Finding == dynmesh.Fail && (p.Reason == dynmesh.ReasonRefused || p.Reason == dynmesh.ReasonFrozen) {
			return true
		}
	}
	return false
}

// notReady: the worker says so, or its system port or canaries do, or it is silent about what is
// listed in its name. Its last word stands also when gossip has lost it, until it says better.
// Before its first, that it is listed says nothing of its engine.
func (e Evidence) notReady() bool {
	if e.reported() {
		return !e.Own.Ready
	}
	return e.silent() || e.unspoken() || e.asked(Path.unready) != nil
}

func (e Evidence) silent() bool {
	return e.Own == nil && e.Unreported && e.Registered && e.isAlive()
}

func (e Evidence) unspoken() bool { return e.Own == nil && e.Unspoken && e.Registered }

// reported says whether the worker has told of this instance in a way that this version
// understands.
func (e Evidence) reported() bool {
	return e.Own != nil && (e.Own.Kind == dynmesh.KindCanary || e.Own.Kind == dynmesh.KindTraffic)
}

// isAlive says whether gossip counts the worker as a member that may answer.
func (e Evidence) isAlive() bool {
	return e.Worker.State == dynmesh.Alive || e.Worker.State == dynmesh.Suspect
}

func (e Evidence) verified() bool {
	if e.asked(Path.proven) != nil {
		return true
	}
	if !e.isAlive() || !e.reported() || !e.Own.Ready {
		return false
	}
	return e.Own.Finding == dynmesh.Pass || e.Own.Kind == dynmesh.KindTraffic && e.Own.Finding == dynmesh.Busy
}
