// Package dial makes the connections that a [probe.Prober] asks for, and tells how they ended. It
// decides nothing.
package dial
