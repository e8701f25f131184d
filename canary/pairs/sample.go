package pairs

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Count is how many requests ended, and how many of them failed.
type Count struct{ Failed, Ended uint64 }

// Plus adds what others counted.
func (c Count) Plus(o Count) Count { return Count{c.Failed + o.Failed, c.Ended + o.Ended} }

// Without takes off what is among it. Counters that are read one after the other may have more.
func (c Count) Without(o Count) Count {
	return Count{c.Failed - min(o.Failed, c.Failed), c.Ended - min(o.Ended, c.Ended)}
}

// String is both.
func (c Count) String() string { return fmt.Sprintf("%d of %d", c.Failed, c.Ended) }

// Sample is what a worker tells of the engine whose prompts it cannot answer: that requests fail
// which that one has read, and others do not.
type Sample struct {
	Peer   Peer
	Of     Count         // of the peer's
	More   int           // other peers of which the same is to be said
	Others Count         // of all other requests
	Within time.Duration // in which they ended
	Last   string        // why the last one failed
}

// String writes a line that people can read, too, of at most dynmesh.MaxSample bytes:
//
//	5 of 5 whose prompt p0 at 10.0.0.3:5600 read fail, 0 of 6 of others, within 30s, the last: …
//
// Where the worker of the peer is known, that is said in place of the address. Where a name takes
// too much room, its beginning is told: of more than 46 bytes, as counts are.
func (s Sample) String() string {
	name, more := s.Peer.Name(), ""
	switch {
	case s.Peer.Instance != 0:
		more = " (instance " + s.Peer.Instance.String() + ")"
	case s.Peer.Engine != "" && s.Peer.Addr != "":
		more = " at " + s.Peer.Addr
	}
	tail := " read fail"
	if s.More > 0 {
		tail += fmt.Sprintf(", of %d more as well", s.More)
	}
	if s.Others.Ended > 0 {
		tail += fmt.Sprintf(", %v of others", s.Others)
	}
	tail += fmt.Sprintf(", within %v", s.Within)
	line := fmt.Sprintf("%v whose prompt ", s.Of)
	line += name[:min(len(name), max(dynmesh.MaxSample-len(line)-len(tail), 0))]
	if len(line)+len(more)+len(tail) <= dynmesh.MaxSample {
		line += more
	}
	line += tail
	if room := dynmesh.MaxSample - len(line); s.Last != "" && room >= minLast {
		line += text.Line(", the last: "+s.Last, room)
	}
	return line
}

// minLast is the least that is told of why the last one failed, in bytes.
const minLast = 24

var form = regexp.MustCompile(`^(\d{1,9}) of (\d{1,9}) whose prompt ([!-~]+)(?: at ([!-~]+)| \(instance ([0-9a-f]{1,16})\))? read fail` +
	`(?:, of (\d{1,4}) more as well)?(?:, (\d{1,9}) of (\d{1,9}) of others)?, within ([0-9a-z.]{1,12})(?:, the last: (.*))?$`)

// ParseSample reads what String writes. What is another thing is not ok.
func ParseSample(line string) (s Sample, ok bool) {
	m := form.FindStringSubmatch(line)
	if m == nil || len(line) > dynmesh.MaxSample {
		return Sample{}, false
	}
	number := func(n int) uint64 {
		v, _ := strconv.ParseUint(m[n], 10, 64) // empty: 0
		return v
	}
	within, err := time.ParseDuration(m[9])
	if err != nil {
		return Sample{}, false
	}
	s = Sample{
		Peer: Peer{Engine: m[3], Addr: m[4]}, Of: Count{number(1), number(2)}, More: int(number(6)),
		Others: Count{number(7), number(8)}, Within: within, Last: m[10],
	}
	if m[5] != "" {
		if s.Peer.Instance, err = dynmesh.ParseInstanceID(m[5]); err != nil {
			return Sample{}, false
		}
	}
	if s.Peer.Addr == "" && s.Peer.Instance == 0 && isAddr(s.Peer.Engine) {
		s.Peer.Engine, s.Peer.Addr = "", s.Peer.Engine
	}
	return s, true
}
