// Package quality sends quality canaries: it has an idle engine answer the fixed prompts of
// canary/answers, and tells the mesh a digest of each answer, which frontends compare with those of
// its peers. It concludes nothing itself. Workers and their programs use it.
//
// A [Canary] is a worker.Measurer. It asks one thing at a time, in the pace and the budget of
// answers.Pace, and it never stands in anybody's way: it waits until no request is in flight, and
// what it asks of a busy engine is a thousandth of what that writes. What passes the proxy is told,
// too: how many answers there were, and how many are garbage by themselves.
package quality
