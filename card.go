package dynmesh

// CardKey says which model card is meant: an instance may serve a model, and adapters of it, each
// with a card. It is comparable.
type CardKey struct {
	InstanceKey        // of the endpoint that serves the model
	LoRA        string // of an adapter: the last part of its key; empty for the model itself
}

// ModelCard is what one of Dynamo's workers registers of a model that it serves, as far as dynmesh
// has use for it.
type ModelCard struct {
	CardKey
	Model      string     // the name that requests use
	ModelType  string     // which routes it answers, such as "Chat | Completions"; empty where it says nothing
	WorkerType string     // aggregated, prefill, decode or encode; empty on versions that say nothing
	Needs      [][]string // types of workers that it needs beside it: all of one of these sets; none: it needs none
	SystemURL  string     // root of the worker's system port, http://host:port; empty where the card has no address of it
	FirstRank  int        // the lowest of its data-parallel ranks
	Ranks      int        // how many of them there are; 0 where the card does not say
}
