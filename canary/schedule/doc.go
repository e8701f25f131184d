// Package schedule decides when an endpoint is asked whether it works, and whether it is ready. It
// is for package canary, which does what it says.
//
// The schedule of an endpoint is a pure function: [Policy.Step] takes what is remembered of the
// endpoint (a [State]), something that happened (an [Event]) and the moment, and returns the next
// State and what is to be done ([Actions]). It looks at no clock, starts nothing, and keeps
// nothing.
//
// A State is made of three machines:
//
//	| machine | knows                                           | file                  |
//	| State   | readiness, finding, when the next canary is due | state.go, schedule.go |
//	| run     | how far the canary under way is                 | run.go                |
//	| traffic | what real requests do, and how fast (pace)      | traffic.go, pace.go   |
//
// What follows from them when something stands still is in stall.go; what follows from signs that
// are no canary's, and from requests that fail, in suspect.go.
//
// The rules are in the tables of TestSchedule, TestStalls and TestSigns, one case each.
package schedule
