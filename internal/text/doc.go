// Package text makes text that came from outside (a registry, an engine, gossip, a client, the
// environment) fit for logs, metrics, JSON and terminals. It links the standard library only.
//
// Call it where the text enters; behind that, code trusts the text.
package text
