// Package answers finds replicas that answer otherwise than their peers: those with a wrong file of
// weights, a broken card, a kernel that corrupts. It is for the frontend. All of it is pure: no
// clock, no socket, no goroutine.
//
// A [Table] takes in the samples of canary/answers and says which instances are suspect, and why,
// in a line. Peers are instances of one group (the caller's: model, role, hardware) and one
// revision.
//
// # What is right
//
// What most peers answer to a prompt when they were last asked, one vote each. An answer differs
// from it where another token stands in its place, unless both engines found another nearly as
// likely there: such ties are decided by how requests are batched and by the kind of GPU. So does
// one with the same tokens and other logprobs (by [logprobOff] in the mean).
//
// # Who is suspect
//
//	answers differ        Of an instance's newest samples (3 to 192, whichever says most) more differ
//	                      than chance gives: were all samples of a prompt dealt out between it and
//	                      its peers anew, so many would differ in 1 of 10^8 deals. That is an exact
//	                      test (hypergeometric, a stratum a prompt). Engines that are not
//	                      deterministic flip tokens, on all alike, which takes no power but time.
//	their distribution    Where hardly two answers are alike there is no right one, and two samples
//	                      are compared: the instance's newest 20 with its peers', by the maximum mean
//	                      discrepancy with the Hamming kernel (arXiv 2410.20247), its p-value by
//	                      permutation within prompts. 3 such windows in a row, which share no sample
//	                      of the instance's, must be below 0.005.
//	it is garbage         Logprobs that are no numbers, or requests that the engine counts as
//	                      corrupted: in two samples in a row, while most peers have none. Of real
//	                      requests: more garbage than chance gives, by the first test.
//
// # What it must not do
//
// One prompt says little: other hardware may always decide one otherwise. So the first test wants
// that without the two prompts that say most the chance is below 1 in 10^3 still, and the second
// leaves these two out. A majority is never
// suspect: when half of a group would be, nobody is. Of two that differ nobody knows which is
// wrong, which [Table.Splits] says. An instance is looked at only when one of its samples differs.
// Where 0.1 % of all tokens flip, those are 100,000 looks a day in a thousand workers, which 10^-8
// makes one false suspicion in some hundred days.
//
// # When it ends
//
//	answers differ        when twice as many samples as it was found in, and 16 at least, have come
//	                      since, and no more of the newest differ than chance gives
//	their distribution    when three windows more do not show it than do
//	it is garbage         when 16 samples have come since, and the newest is none. Of real requests:
//	                      when later ones outweigh those; or where there are none, as of one that is
//	                      withdrawn, after 60 answers in a row without a flaw
package answers
