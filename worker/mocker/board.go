package mocker

import "sync"

// board holds the knobs that are in force. Whoever waits on something that a knob decides also waits on changed.
type board struct {
	apply func(Knobs) // called with each new set, in their order

	mu      sync.Mutex
	knobs   Knobs
	changed chan struct{} // closed and replaced by each set
}

func (b *board) get() (Knobs, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.knobs, b.changed
}

// update puts change(knobs in force) in force, as one step.
func (b *board) update(change func(Knobs) (Knobs, error)) (Knobs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, err := change(b.knobs.clone())
	if err != nil {
		return Knobs{}, err
	}
	if k, err = k.settle(); err != nil {
		return Knobs{}, err
	}
	b.knobs = k
	b.apply(k)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return k, nil
}
