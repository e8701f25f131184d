package localetcd

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Raft says so only where a start takes as long as an election, on a busy machine.
func TestQuietOnBusyMachine(t *testing.T) {
	core, lines := observer.New(zap.DebugLevel)
	s := &Server{streams: newStreamGate()}
	log := s.quiet(zap.New(core))
	log.Warn("18872ab49415b7e4 cannot campaign at term 1 since there are still pending configuration changes to apply")
	log.Warn("something else")
	for n, want := range []zapcore.Level{zap.DebugLevel, zap.WarnLevel} {
		if got := lines.All()[n]; got.Level != want {
			t.Errorf("%q is logged at %v, want %v", got.Message, got.Level, want)
		}
	}
}
