package history

import (
	"errors"
	"fmt"
	"time"
)

// ErrAway is the error of a question while the folder cannot be read, or has not been yet.
var ErrAway = errors.New("the history cannot be read")

// ask runs a question.
func (j *Journal) ask(question func(*store) error) error {
	j.readers.RLock()
	defer j.readers.RUnlock()
	s := j.store.Load()
	if s == nil {
		if cause := j.problem.Load(); cause != nil {
			return fmt.Errorf("%w: %s", ErrAway, *cause)
		}
		return fmt.Errorf("%w: it has not been opened yet", ErrAway)
	}
	return question(s)
}

// Select returns the newest changes that a question is about.
func (j *Journal) Select(q Query) (page Page, err error) {
	err = j.ask(func(s *store) error {
		page, err = s.sel(q)
		return err
	})
	return page, err
}

// At returns how everything stood. Where nobody watched then, the error is a [NoneError].
func (j *Journal) At(at time.Time) (state State, err error) {
	err = j.ask(func(s *store) error {
		state, err = s.at(at)
		return err
	})
	return state, err
}

// Counts returns n points between two times, the last one at until.
func (j *Journal) Counts(since, until time.Time, n int) (points []Point, err error) {
	err = j.ask(func(s *store) error {
		points, err = s.counts(since, until, n)
		return err
	})
	return points, err
}

// Begins returns when what is kept begins; zero: there is nothing.
func (j *Journal) Begins() (at time.Time) {
	_ = j.ask(func(s *store) error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if len(s.files) > 0 {
			at = time.UnixMilli(s.files[0].begin()).UTC()
		}
		return nil
	})
	return at
}
