// Package aeskey is keys of AES as text: in files, settings and registries. It is for whoever keeps
// gossip keys.
package aeskey
