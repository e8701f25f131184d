package canary

import (
	"context"
	"net"
)

// TCP makes a probe that connects to address (host:port) and hangs up: it tells that the process is there, and nothing of
// the engine.
func TCP(address string) Probe {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return transportFailure(ctx, err)
		}
		conn.Close()
		return nil
	}
}
