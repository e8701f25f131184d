// Package history keeps on disk how verdicts changed, with the evidence of each change. It is for
// the frontend, whose loop calls [Journal.Record], and for what answers questions about the past:
// [Journal.Select], [Journal.At] and [Journal.Counts].
//
// # Files
//
// A folder holds files of bbolt, one for each stretch of at most six hours, so that age and size
// are bounded by removing whole files, and damage to one stays in it. A file stands for itself: it
// begins with how everything stood (entries that are Carried), and each change follows as an
// [Entry]: of an instance, of a cause that several failures have, or of what stands around them.
// The newest is written to; one that is full is rewritten once, compressed by instance,
// and read from then on.
//
//	bucket       key                        value
//	"runs"       begin                      until when somebody watched; whether it ended in order
//	"subjects"   endpoint, 0, instance ID   number
//	"entries"    number, time               block: entries of one instance from that time on
//
// A run is a stretch within which nothing was missed. Another begins, with how everything stands,
// when a process starts, when entries had to be dropped, and when the clock went back.
//
// # What outlasts what
//
// A commit waits for the disk, some of which take a third of a second. So an entry is written
// twice: first to a tail, without sync, where it is safe once the kernel has it; then it is
// committed.
//
//	Record ──▶ queue ──┬── tail.run ──▶ tail.0, tail.1   written: outlasts the process
//	                   └── run ───────▶ *.history        committed, synced: outlasts the machine
//
// The goroutine tail.run alone writes the tails, and run alone everything else in the folder. An
// entry stays in the queue until it is committed, so neither waits for the other. Entries have
// numbers that rise; a file has the number of the last entry that was committed, as the sequence
// of the bucket "runs". What has greater numbers in the tails, when a folder is opened, is
// committed then, and the tails are removed.
//
// # Goroutines and waits
//
// Record copies what changed into a queue that is bounded, and never waits. [Journal.Run] alone
// writes: a disk that is full, slow, read-only or another process's is its matter, and said once.
// When the queue is full it is dropped and counted, and the next run begins once the disk is back.
//
// bbolt maps files into memory, and so a page that cannot be read, or makes no sense, is a fault or
// a panic: all that touches a file runs within guarded, which makes an error of either.
package history
