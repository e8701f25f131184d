// Package failures remarks on instances whose workers say that a part of their real requests fails:
// worker/failures. Where it is those that one prefill has read, the pair is named; and where the
// workers of one endpoint say so of the same prefill, or one of them of all, that one is. A verdict
// is not concluded from it.
//
// It is pure: the frontend's loop feeds and asks it.
package failures
