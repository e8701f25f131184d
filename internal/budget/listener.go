package budget

import "net"

// Listener has each connection to ln take one of a budget that counts them. One that loses it is
// closed, and so is one that there is no room for: nobody waits behind those who hold connections.
func Listener(ln net.Listener, b *Budget) net.Listener { return counted{ln, b} }

type counted struct {
	net.Listener
	budget *Budget
}

func (l counted) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		one := &countedConn{Conn: c, claim: l.budget.Claim(HostOf(c), func() { _ = c.Close() })}
		if one.claim.Grow(1) {
			return one, nil
		}
		_ = c.Close()
	}
}

type countedConn struct {
	net.Conn
	claim *Claim
}

// Close may be called more than once.
func (c *countedConn) Close() error {
	c.claim.Release()
	return c.Conn.Close()
}
