package pace

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/speed"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Whatever instances say of their pace, in whichever order they come and go: what is known of it is
// bounded and is a line for people; few are slow; and of those that are gone nothing is left.
func FuzzTake(f *testing.F) {
	slow := make([]byte, 0, 1000)
	for range 12 {
		for i := range byte(4) {
			slow = append(slow, i, 150, 20, 0, 0x01, 0x40, 60*(1+i/3), 0)
		}
	}
	f.Add(slow)
	f.Add([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0, 0, 0x0f, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, said []byte) {
		table, now := NewTable(), noon
		for ; len(said) >= 8; said = said[8:] {
			key := instance(int(said[0] % 16))
			if said[0] >= 0x80 {
				table.Drop(key)
				continue
			}
			// Numbers of all magnitudes that a sample may have, and beyond.
			loads, mean := uint64(said[2])<<(said[3]%32), speed.Mean{Count: uint64(said[5]) << (said[6] % 32), Took: time.Duration(binary.BigEndian.Uint16(said[6:])) << (said[3] % 48)}
			s := speed.Sample{Window: time.Duration(said[1]) * 100 * time.Millisecond, Running: float64(loads) / 100, Waiting: float64(said[2]), Prompt: float64(loads)}
			for k := range speed.Kinds {
				if said[4]&(1<<k) != 0 {
					s.Took[k] = mean
				}
			}
			table.Take(key, "group", dynmesh.Observation{Report: dynmesh.Report{Sample: s.Encode()}}, now)
			now = now.Add(time.Duration(said[7]) * time.Second)
		}
		for _, remark := range table.Conclude(now) {
			if text.Line(remark, dynmesh.MaxDetail) != remark || strings.Contains(remark, "NaN") || strings.Contains(remark, "Inf") {
				t.Errorf("%q is no line for people", remark)
			}
		}
		named := 0
		for _, r := range table.replicas {
			if len(r.windows) > windows || len(r.windows) == 0 {
				t.Errorf("%d windows are kept", len(r.windows))
			}
			if r.text != "" {
				named++
			}
		}
		if named > 1+len(table.replicas)/10 {
			t.Errorf("%d of %d are slow", named, len(table.replicas))
		}
		for key := range table.replicas {
			table.Drop(key)
		}
		if len(table.classes)+len(table.replicas)+len(table.marked) > 0 {
			t.Errorf("when all are gone, %d classes and %d marks are left", len(table.classes), len(table.marked))
		}
	})
}
