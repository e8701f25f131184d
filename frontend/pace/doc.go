// Package pace says which replicas are slow beside their peers, at equal load. It is for the
// frontend. All of it is pure: no clock, no socket, no goroutine.
//
// A [Table] takes in what workers measure of themselves ([speed.Sample]); [Table.Conclude] returns
// what is to be said of whom, or no longer. The generated set of the test is the specification.
//
// # Who is compared
//
// Replicas of one group, which the caller names: of one endpoint, model and worker type, on one
// model of GPU. Each is held against the others, never against itself, an absolute number, or the
// past. So a group that gets slower as a whole is under load, and nobody is named.
//
// # How
//
//	time        a token, the first token, a token of whole answers, or an idle one's canary: each
//	            kind by itself
//	equal load  the peers' times are a function of load: running and waiting requests, length of
//	            prompts. Its slopes are a robust regression (Huber's) over the peers' last windows,
//	            in logarithms; between 0 (load costs nothing) and 1 (requests wait for each other),
//	            and near to what is usual where the peers' loads are too equal to tell
//	unequal     beyond the loads that peers were seen at, load is taken to cost as much as it may:
//	            one that has ten times as much to do as all others is not called slow
//	far off     loads far from all others' say little of the slopes: one that lies, or whose gauges
//	            are broken, has no say in what load costs the rest, if they are five or more
//	now         how the group is at present is the median of the peers' newest windows
//	noise       what is left is measured in units of how much the peers scatter: within themselves
//	            from window to window, and among each other, for good
//
// # When one is named
//
//	it adds up   the excess over 1.1 ×, plus how much the peers differ among each other, is summed
//	             up in units of the noise, no window counting for more than 4. From 8 on it is
//	             named, and until the sum is back at 0 (a CUSUM chart with hysteresis). 2 × takes two
//	             or three windows, 1.3 × some minutes. While the peers get slower themselves, that is
//	             allowed for, too
//	it is rare   a window counts for no more than its rarity among the peers' windows, each beside
//	             what is usual for itself (the logarithm, above one in four): one that peers have
//	             had now and then, too, such as one in which a long prompt held everything up, is no
//	             sign by itself
//	it matters   it is 1.2 × or more, and a millisecond a token (10 ms to the first one, 20 ms a
//	             canary)
//	since        when the sum began to grow
//	not all      a tenth of the group at most, of three and more one at least; and nobody new while
//	             a third of it deviates, which is no fault of single replicas
//	not for ever a remark ends when that for which its replica is named has not been measured for
//	             [Forget], whatever else has, or fewer than three are left
//
// Time to the first token alone names from 1.4 × only where tokens are measured, too: it differs
// with what each replica has cached. So does a canary.
package pace
