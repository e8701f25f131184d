package budget

import (
	"math"
	"testing"
)

func TestFiles(t *testing.T) {
	for _, tt := range []struct{ files, parts, most, want int64 }{
		{0, 4, 512, 512}, // there is no limit
		{1 << 20, 4, 512, 512},
		{1024, 4, 512, 256},
		{2, 4, 512, 1},
	} {
		if got := share(tt.files, tt.parts, tt.most); got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
	files := Files(4, math.MaxInt64)
	for _, room := range []int64{1, 1 << 20, 1 << 40} {
		if got := PerConnection(room, 16, 4); got < 16 || room/got > files {
			t.Errorf("of a room of %d a connection takes %d, and %d files there are", room, got, files)
		}
	}
}
