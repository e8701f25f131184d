// Package swim is memberlist behind a transport of our own: who is there, packets, streams, and the
// tripwires beside them. Nothing else imports memberlist. Package gossip says what travels.
//
// A [Node] is this process in memberlist. It tells what happens to a [Delegate], from many
// goroutines and mostly while memberlist holds its locks.
//
// memberlist runs with its LAN defaults: its failure detector, its packets, its encryption. What it
// only says in its log, such as a suspicion, is read from there.
package swim
