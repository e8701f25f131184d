package budget

import "math"

// Files is one part in so many of the files that this process may have open, sockets among them,
// and at most most; one at least.
func Files(parts, most int64) int64 { return share(maxFiles(), parts, most) }

func share(files, parts, most int64) int64 {
	if files == 0 {
		return most
	}
	return min(most, max(files/parts, 1))
}

// PerConnection is what a connection takes of a budget of room: cost; or more where one part in so
// many of the files would be used up before the room is.
func PerConnection(room, cost, parts int64) int64 {
	return max(cost, room/Files(parts, math.MaxInt64)+1)
}
