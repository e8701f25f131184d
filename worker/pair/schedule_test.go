package pair

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// play has workers asked for a while, by what becomes of it: a letter each, in its turn, of which
// the last one stays. x fails, . is answered, - says nothing. It returns who was asked when.
func play(fates []string, decodes int, lasts time.Duration) (asked string) {
	var s schedule
	var all []Prefill
	for n := range fates {
		all = append(all, Prefill{ID: dynmesh.InstanceID(n)})
	}
	began := time.Unix(1e9, 0)
	for now := began; now.Sub(began) < lasts; now = now.Add(time.Second) {
		p, ok := s.next(all, decodes, now)
		if !ok {
			continue
		}
		fate := fates[p.ID]
		if len(fate) > 1 {
			fates[p.ID] = fate[1:]
		}
		s.asked(p.ID, map[byte]outcome{'x': failed, '.': answered, '-': void}[fate[0]], now)
		asked += fmt.Sprintf("%d@%v ", p.ID, now.Sub(began))
	}
	return strings.TrimSpace(asked)
}

func TestSchedule(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fates   []string
		decodes int
		lasts   time.Duration
		want    string
	}{
		{"nobody prefills", nil, 1, time.Minute, ""},
		{"each in its turn", []string{".", ".", "."}, 1, 9 * time.Second, "0@0s 1@2s 2@4s 0@6s 1@8s"},
		{"what fails is confirmed, and then left alone for a while", []string{".", ".x"}, 1, 32 * time.Second,
			"0@0s 1@2s 0@4s 1@6s 1@8s 1@10s 0@12s 0@14s 0@16s 0@18s 1@20s 0@22s 0@24s 0@26s 0@28s 1@30s"},
		{"so is that it works again", []string{".", "xxx."}, 1, 28 * time.Second,
			"0@0s 1@2s 1@4s 1@6s 0@8s 0@10s 0@12s 0@14s 1@16s 1@18s 1@20s 0@22s 1@24s 0@26s"},
		{"who changes all the time leaves others their turns", []string{"x.x.x.x.x.x.x.x.x.x", ".", "."}, 1, 20 * time.Second,
			"0@0s 0@2s 0@4s 1@6s 0@8s 0@10s 2@12s 0@14s 0@16s 1@18s"},
		{"what says nothing changes nothing, and is left alone for a while", []string{"-", "."}, 1, 14 * time.Second, "0@0s 1@2s 1@4s 1@6s 1@8s 0@10s 1@12s"},
		{"many decode for each that prefills", []string{"."}, 16, 20 * time.Second, "0@0s 0@8s 0@16s"},
		{"and not twice as many", []string{"."}, 6, 10 * time.Second, "0@0s 0@3s 0@6s 0@9s"},
	} {
		if got := play(tt.fates, tt.decodes, tt.lasts); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// Workers that decode begin at once, each with another one that prefills.
func TestScheduleBegins(t *testing.T) {
	all := []Prefill{{ID: 1}, {ID: 2}, {ID: 3}}
	begin := map[dynmesh.InstanceID]int{}
	for from := range uint64(6) {
		s := schedule{from: 1<<64 - 1 - from}
		p, _ := s.next(all, 6, time.Unix(1e9, 0))
		begin[p.ID]++
	}
	if len(begin) != len(all) {
		t.Errorf("six begin with %v, want two with each", begin)
	}
}

func TestScheduleForgets(t *testing.T) {
	var s schedule
	now := time.Unix(1e9, 0)
	for n := range 100 {
		now = now.Add(period)
		if p, ok := s.next([]Prefill{{ID: dynmesh.InstanceID(n)}}, 1, now); !ok || p.ID != dynmesh.InstanceID(n) {
			t.Fatalf("asked is %v, %v", p, ok)
		}
		s.asked(dynmesh.InstanceID(n), answered, now)
	}
	if len(s.tries) != 1 {
		t.Errorf("%d are remembered, want the one that is there", len(s.tries))
	}
}
