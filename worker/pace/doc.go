// Package pace measures how fast an endpoint is, and what it has to do meanwhile: so that frontends
// can compare it with its peers. It is for workers.
//
// A [Measurer] says a sample ([speed.Sample]) each [Window] in which there was something to
// measure:
//
//	requests    how long they took, by what the worker sees of them anyway, or by the engine's own
//	            histograms where they do not come through the worker
//	canaries    how long they took, in a window without requests
//	load        the mean number of requests whose answers came, and of those that waited for theirs:
//	            the time that all of them spent so, by the length of the window
//
// In a mesh of more than 750 members windows are longer, so that all workers together say no more
// than 50 samples a second.
package pace
