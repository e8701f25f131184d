package api

import (
	"fmt"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	c, err := Config{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Host, c.Port, c.HealthPath, c.LivePath, c.GracefulShutdownTimeout)
	if want := fmt.Sprint("0.0.0.0", 0, "/health", "/live", 5*time.Second); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
