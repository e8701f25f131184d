// Package filewatch says when something in a folder may have changed. It is for sources whose
// registry is files.
//
// The kernel's notices come first, and a look every few seconds makes up for those that it does not
// give: of file systems over the network, of a queue that ran over, of folders that came later.
package filewatch
