// Package pair asks pairs of engines: one that prefills, which is another worker's, and the own
// one, which decodes. Each of them may pass its own canaries while nothing comes of a request that
// goes through both, and while nobody asks nobody knows.
//
// A [Canary] does as a router of vLLM's does: it has one of the workers that prefill read a prompt,
// and the own engine write the answer to it. Of SGLang's both are asked at once (sglang.go). One
// worker is asked after the other, never two at once, and only while the own engine has nothing to
// do. What becomes of it is told as of a real request: see worker/failures.
//
// Who prefills is known from gossip (directory.go): nothing is asked of a registry, and no address
// is dialled that the mesh's own probes would not dial.
package pair
