package output

import (
	"errors"
	"strconv"
	"strings"
)

// Floor is how many servers of a target are to serve at least: a part of those there are, or a
// number. The zero value says nothing; none is 0%.
type Floor struct {
	Count   int
	Percent bool // Count is a percentage
}

// DefaultFloor is half.
func DefaultFloor() Floor { return Floor{50, true} }

// maxFloor is the largest number of servers.
const maxFloor = 1_000_000

// ParseFloor reads what String writes.
func ParseFloor(s string) (Floor, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 0 || n > maxFloor || percent && n > 100 {
		return Floor{}, errors.New("want a part, 0% to 100%, or a number of servers, such as 50% or 2")
	}
	return Floor{n, percent || n == 0}, nil // 0 and 0% are one
}

// String returns 50% or 2.
func (f Floor) String() string {
	if f.Percent {
		return strconv.Itoa(f.Count) + "%"
	}
	return strconv.Itoa(f.Count)
}

// of returns the floor of a target with so many servers: never more than there are, and a part is
// rounded up, so that any but 0% is one server at least.
func (f Floor) of(servers int) int {
	n := f.Count
	if f.Percent {
		n = (f.Count*servers + 99) / 100
	}
	return min(n, servers)
}
