// Package timers has what waiting needs: a queue of deadlines for a loop that owns its time, spread
// so that many do not wait in step, and a wait that a context ends. It links the standard library
// only.
package timers
