package frontend

import "slices"

// chunkSize is the most records of a chunk. A change costs a copy of one chunk and of the list of chunks; at 256 they
// weigh about the same for 100,000 instances (BenchmarkChange), and sending notices nothing of it (BenchmarkHealth).
const chunkSize = 256

// chunk is a stretch of a listing: records that follow each other, and what they add to the answer. It never changes, so
// that listings which differ in a few records share all other chunks.
type chunk struct {
	records   []*record // sorted; at least one
	json      []byte    // each record's, with a comma before it
	endpoints []endpointCount
	sum       uint64 // of the records' hashes, wrapping
}

// newChunk copies records, and what it is given may be scratch. Those of the chunk have their JSON in the chunk's own: held twice,
// it would be most of what there is in memory.
func newChunk(records []*record) *chunk {
	size := 0
	for _, r := range records {
		size += len(",") + len(r.json)
	}
	c := &chunk{records: make([]*record, len(records)), json: make([]byte, 0, size)}
	own := make([]record, len(records))
	for i, r := range records {
		own[i] = *r
		begin := len(c.json) + len(",")
		c.json = append(append(c.json, ','), r.json...)
		own[i].json = c.json[begin:len(c.json):len(c.json)]
		c.records[i] = &own[i]
		c.sum += r.hash
		c.endpoints = count(c.endpoints, endpointCount{r.endpoint, 1})
	}
	return c
}

// appendRecords appends the records of chunks in JSON, with commas between them.
func appendRecords(segments [][]byte, chunks []*chunk) [][]byte {
	for n, c := range chunks {
		json := c.json
		if n == 0 {
			json = json[len(","):]
		}
		segments = append(segments, json)
	}
	return segments
}

// endpointCount says how many instances of an endpoint there are.
type endpointCount struct {
	*endpoint
	instances int
}

// count adds e to counts, in which no endpoint sorts after e's.
func count(counts []endpointCount, e endpointCount) []endpointCount {
	// Equal endpoints are one pointer, because the registry keeps them unique.
	if last := len(counts) - 1; last >= 0 && counts[last].endpoint == e.endpoint {
		counts[last].instances += e.instances
		return counts
	}
	return append(counts, e)
}

// splice applies changes, sorted and unique, to chunks, whose records are sorted and unique all together. It returns new
// chunks where records change and the very same ones elsewhere, and whether anything changed. Each chunk holds at most
// size records, and at least a quarter of that unless it is the only one: a fleet that shrank leaves no crumbs, and a
// fleet that comes and goes at such a bound does not split and join chunks for ever.
func splice(chunks []*chunk, changes []change, size int) (spliced []*chunk, changed bool) {
	if len(chunks) == 0 {
		chunks = []*chunk{{}} // a place for all changes
	}
	s := splicer{size: size, done: make([]*chunk, 0, len(chunks)+len(changes)/size+1)}
	for len(changes) > 0 {
		// A chunk takes what sorts before the next chunk's first record; the first one also what sorts before its own.
		at, begins := slices.BinarySearchFunc(chunks[1:], changes[0].record, (*chunk).compareFirst)
		if begins {
			at++
		}
		s.keep(chunks[:at])
		here := len(changes)
		if at+1 < len(chunks) {
			next := chunks[at+1].records[0]
			here, _ = slices.BinarySearchFunc(changes, next, func(c change, r *record) int { return c.compare(r) })
		}
		if merged := merge(chunks[at].records, changes[:here]); sameSlice(merged, chunks[at].records) {
			s.keep(chunks[at : at+1])
		} else {
			s.loose = append(s.loose, merged...)
			changed = true
		}
		changes, chunks = changes[here:], chunks[at+1:]
	}
	if !changed {
		return nil, false
	}
	s.keep(chunks)
	s.cut()
	return s.done, true
}

// compareFirst orders a chunk's first record and r.
func (c *chunk) compareFirst(r *record) int { return c.records[0].compare(r) }

// splicer gathers the chunks of a new listing.
type splicer struct {
	size  int
	done  []*chunk
	loose []*record // come after done, in no chunk yet
}

// keep adds chunks that stay as they are.
func (s *splicer) keep(chunks []*chunk) {
	if len(chunks) == 0 {
		return
	}
	if s.few() && len(s.done) == 0 { // none before to join them with
		s.loose = append(s.loose, chunks[0].records...)
		chunks = chunks[1:]
	}
	s.cut()
	s.done = append(s.done, chunks...)
}

// cut makes chunks of the loose records: as few as can be, all of one size, which leaves each one room to grow.
func (s *splicer) cut() {
	if s.few() && len(s.done) > 0 {
		last := len(s.done) - 1
		s.loose = slices.Concat(s.done[last].records, s.loose)
		s.done = s.done[:last]
	}
	n := len(s.loose)
	pieces := (n + s.size - 1) / s.size
	for i := range pieces {
		s.done = append(s.done, newChunk(s.loose[i*n/pieces:(i+1)*n/pieces]))
	}
	s.loose = s.loose[:0]
}

// few says whether the loose records are too few for a chunk.
func (s *splicer) few() bool { return len(s.loose) > 0 && len(s.loose) < s.size/4 }
