// Package failures remarks on instances whose workers say that a part of their real requests fails:
// worker/failures. Nothing is compared with peers, and nothing is concluded from it.
//
// It is pure: the frontend's loop feeds and asks it.
package failures
