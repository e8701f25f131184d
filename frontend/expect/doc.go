// Package expect says what a fleet is expected to have, and holds that against what it has. It is
// for frontends (/ready) and for whatever asks one (dynmesh wait, dynmesh status), so that all of
// them say the same. All of it is pure: no clock, no socket, no goroutine; its functions may be
// called from anywhere.
//
// # How expectations are written
//
//	dyn://dynamo.prefill.generate>=14            at least 14 instances are registered and ready
//	dyn://prod-*.*.generate>=16                  * is any characters of a part; all that match
//	                                             count together
//	model:llama-70b/decode>=4                    instances that serve the model in that role, by
//	                                             their workers' model cards; without /role, in any
//	dyn://dynamo.backend.generate>=2{verified}   only those count that are verified: a fresh
//	                                             canary or real traffic vouches for them
//
// Several stand behind each other with commas or line ends between them, spaces are free between
// the pieces, and all of them have to hold. A count is a whole number from 0 (which always holds: a
// template may scale something to nothing) to [MaxCount].
//
// There is one operator. What "=" would add is to be unready while there are more instances than
// planned, as during every rolling update; and ">13" is ">=14" for those who like puzzles.
//
// What cannot be read is refused by a [SyntaxError], in a line that says where.
package expect
