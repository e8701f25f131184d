// Package frame looks at memberlist's packets and streams before memberlist does, and refuses what
// would make it allocate more than has come. It is for package swim, whose transport asks it.
//
// memberlist believes what is announced to it, from anybody:
//
//	a compressed message                 becomes up to 40 MiB, whatever its own size
//	a push/pull that announces a         has a million of them allocated before the first has come
//	million members
//	a message that announces 20 MiB      has them allocated before the first byte has come
//	a request to ping somebody else      starts a goroutine and a timer
//
// Nothing is changed: what is let through is what came. What memberlist refuses itself without
// harm, such as another label or another key, is left to it. A packet that has one message of the
// pool's, as heartbeats do, is not for memberlist: opening it has brought the message.
//
// The forms are those of memberlist's net.go; a test holds them against memberlist itself.
package frame
