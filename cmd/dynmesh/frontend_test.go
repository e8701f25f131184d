package main

import (
	"runtime/debug"
	"testing"
)

func TestFrontendCollectsEarly(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	for _, tt := range []struct {
		gogc string
		want int
	}{{"", 50}, {"100", 100}} {
		t.Setenv("GOGC", tt.gogc)
		collectEarly()
		if got := debug.SetGCPercent(100); got != tt.want {
			t.Errorf("GOGC=%s: got %d, want %d", tt.gogc, got, tt.want)
		}
	}
}
