package observation

// A change collects what one step does to a table.
type change struct {
	step    uint64
	touched []touched
	lives   []*life // new ones, and those whose floor rose
	Changes
}

type touched struct {
	*entry
	before []byte // what it said before the step; nil if nothing that stood
}

func (t *Table) change() *change {
	t.step++
	return &change{step: t.step}
}

// touch is called with each entry before it changes.
func (c *change) touch(e *entry) {
	if e.step == c.step {
		return
	}
	e.step = c.step
	was := touched{entry: e}
	if e.live {
		was.before = e.raw
	}
	c.touched = append(c.touched, was)
}

// done says what the step has come to, however often it has touched the same.
func (c *change) done() Changes {
	if len(c.touched)+len(c.lives) == 0 {
		return c.Changes // most of what gossip brings is known
	}
	told := map[*life]bool{}
	for _, was := range c.touched {
		stands := was.live && !was.gone
		switch {
		case stands && (was.before == nil || !sameFinding(was.before, was.raw)):
			c.Set = append(c.Set, was.observation())
		case !stands && was.before != nil:
			c.Withdrawn = append(c.Withdrawn, was.key())
		}
		if !was.gone {
			c.Entries = append(c.Entries, was.travel(was.life.floor))
			told[was.life] = true
		}
	}
	for _, l := range c.lives {
		if !told[l] && !l.ended {
			told[l] = true
			c.Entries = append(c.Entries, l.travel())
		}
	}
	return c.Changes
}

// sameFinding says whether two entries differ in their place only.
func sameFinding(a, b []byte) bool {
	x, _, _ := decode(a)
	y, _, _ := decode(b)
	return x == y
}
