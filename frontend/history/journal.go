package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Picture is how everything stands as the loop has rendered it. It never changes.
type Picture interface {
	// About is what stands around the instances, a JSON object.
	About() []byte

	// Each ranges over the instances and the causes, as /mesh has them.
	Each() iter.Seq2[Subject, []byte]
}

// Config says where the history is kept.
type Config struct {
	Dir      string        // a folder of this frontend's own; it is made where there is none
	MaxAge   time.Duration // of what is kept; default 30 days
	MaxBytes int64         // of all files; default 500 MB

	// Newest returns how everything stands. Any goroutine may call it.
	Newest func() Picture

	Log *logrus.Entry // default: discarded
}

// The defaults.
const (
	DefaultMaxAge   = 30 * 24 * time.Hour
	DefaultMaxBytes = 500_000_000
)

const (
	maxQueued  = 32 << 20               // bytes of changes that wait for the disk
	maxName    = 16 << 10               // bytes of an endpoint's name: bbolt's keys are bounded
	commitRest = 100 * time.Millisecond // from one commit to the next: what changes within it shares one
	retryAfter = 5 * time.Second        // after the disk has failed
	pruneEvery = time.Hour
	aboutEvery = time.Second
	leap       = time.Second // by which a clock may go back unnoticed
)

// Journal keeps the history. Its methods may be called by any goroutine.
type Journal struct {
	cfg  Config
	log  *logrus.Entry
	wake chan struct{} // holds one
	tail *tail

	mu      sync.Mutex
	queue   []Entry // what is not committed. What is in it does not change: it is read unlocked
	writing int     // how many of it are being committed
	number  uint64  // of the last entry that was queued, and of the last run
	size    int     // bytes of the queue
	missed  bool    // something that changed is in no run: another must begin, with how everything stands
	around  bool    // what stands around the instances may be another
	dropped uint64

	store   atomic.Pointer[store]
	readers sync.RWMutex // who reads holds it, and who ends the store
	problem atomic.Pointer[string]

	written atomic.Uint64

	began   time.Time // when nothing stood yet, and from when on changes are queued
	running bool      // Run has begun a run
	due     bool      // another run must begin
	aside   []string  // damaged files as they were, of those that this process has met
}

// New checks cfg. It touches no file: [Journal.Run] does.
func New(cfg Config) (*Journal, error) {
	if cfg.Dir == "" {
		return nil, dynmesh.NewConfigError("history", "Dir", cfg.Dir, "a folder")
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	cfg.Log = logging.OrDiscard(cfg.Log)
	switch {
	case cfg.MaxAge < 0:
		return nil, dynmesh.NewConfigError("history", "MaxAge", cfg.MaxAge, "a positive duration")
	case cfg.MaxBytes < 0:
		return nil, dynmesh.NewConfigError("history", "MaxBytes", cfg.MaxBytes, "a positive number")
	}
	return &Journal{cfg: cfg, log: cfg.Log, wake: make(chan struct{}, 1), tail: newTail(cfg.Dir), began: time.Now()}, nil
}

// Record takes in what has changed: [Config.Newest] returns a picture that has it already. Data of
// an instance may be as /mesh has it, and is not kept. around says that what stands around the
// instances has changed, too. Record does not block. One goroutine calls it.
func (j *Journal) Record(changes []Entry, around bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.around = j.around || around
	for n, e := range changes {
		if j.missed { // the run that is to begin has how it ends
			j.dropped += told(changes[n:])
			break
		}
		e.Data = append(json.RawMessage(nil), e.Data...) // which is shared: a copy keeps nothing else in memory
		if j.size += weight(e); j.size > maxQueued {
			j.drop(told(changes[n:]))
			break
		}
		j.number++
		e.number = j.number
		j.queue = append(j.queue, e)
	}
	rouse(j.tail.wake)
	rouse(j.wake)
}

// rouse has who waits for c go on; it is for channels that hold one.
func rouse(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drop forgets what is queued and not being committed, and more that is not queued.
func (j *Journal) drop(more uint64) {
	j.dropped += told(j.queue[j.writing:]) + more
	j.queue = slices.Clip(j.queue[:j.writing]) // what was behind it may still be read
	j.size, j.missed = 0, true
	for _, e := range j.queue {
		j.size += weight(e)
	}
}

// endWithin is for how long Run waits for a disk once ctx has ended.
const endWithin = 3 * time.Second

// Run writes until ctx ends. Everything that it started has ended when it returns, unless the disk
// does not answer: what the kernel holds up ends with the process, which is not to wait for it.
func (j *Journal) Run(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.run(ctx)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(endWithin):
		j.log.Warnf("History: the disk has not answered for %v: what has not been written is lost", endWithin)
	}
}

func (j *Journal) run(ctx context.Context) {
	defer j.end()
	var tails sync.WaitGroup
	defer tails.Wait()
	tails.Go(func() { j.tail.run(ctx, j.queued) })
	alive, prune := time.NewTicker(aboutEvery), time.NewTicker(pruneEvery)
	defer alive.Stop()
	defer prune.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		case <-alive.C:
		case <-prune.C:
			if s := j.store.Load(); s != nil {
				s.prune(time.Now())
			}
		}
		began, pause := time.Now(), commitRest
		err := j.step(began)
		j.tail.tell(j.log, err == nil && j.Problem() == "") // else it is the same problem
		if err != nil {
			j.fail(err)
			pause = retryAfter
		} else {
			j.recover()
		}
		rest.Reset(pause - time.Since(began)) // a disk that is slow makes them fewer by itself
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
	}
}

// end writes what is left, and gives the folder back.
func (j *Journal) end() {
	s := j.store.Load()
	if s == nil {
		return
	}
	if err := j.step(time.Now()); err != nil {
		j.fail(err)
	}
	j.readers.Lock()
	defer j.readers.Unlock()
	j.store.Store(nil)
	if err := s.close(time.Now()); err != nil {
		j.log.WithError(err).Warn("History was not closed in order")
	}
}

// step writes what has come in.
func (j *Journal) step(now time.Time) error {
	s := j.store.Load()
	if s == nil {
		var err error
		if s, err = openStore(j.cfg, &j.aside, now); err != nil {
			return err
		}
		s.prune(now)
		j.open(s)
	}
	j.mu.Lock()
	missed := j.missed
	j.mu.Unlock()
	if !j.running && !missed { // nothing stood when this process began, and all since then is queued
		if err := s.begin(j.began, func(func(Entry) bool) {}, j.tail.first.Number); err != nil {
			return abandoned(s, err)
		}
		j.running = true
	}
	if s.live == nil || missed || j.due || s.full(s.live, now) {
		return j.begin(s, now)
	}
	last := time.UnixMilli(s.live.runs[len(s.live.runs)-1].until)
	if back := last.Sub(now); back > leap {
		j.log.Warnf("History: the clock went back by %v: what happened in that time stands there twice", back.Round(time.Millisecond))
		j.due = true
		return j.begin(s, now)
	}
	return j.flush(s, now, now.Sub(last) >= aliveEvery)
}

// queued returns what is not committed. While the folder is not this process's own, there is no
// tail for it.
func (j *Journal) queued() []Entry {
	if j.store.Load() == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.queue
}

// open has a store be used. What has been queued before it follows on what its files have.
func (j *Journal) open(s *store) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := s.number + 1 // of the run that this process begins
	j.tail.first = tailed{Number: before, Begins: !j.missed, Entry: Entry{At: j.began}}
	j.number += before
	for i := range j.queue {
		j.queue[i].number += before
	}
	j.store.Store(s)
	rouse(j.tail.wake)
}

// begin begins a run, after what is queued has been written to the one before. What comes in from
// then on is queued for it: where the picture has it too, it is there twice, as nothing new.
func (j *Journal) begin(s *store, now time.Time) error {
	j.mu.Lock()
	queue, missed := j.queue, j.missed
	j.writing, j.missed, j.around = len(queue), false, false
	j.number++
	number := j.number
	j.mu.Unlock()
	err := error(nil)
	if s.live == nil {
		j.finish(len(queue), errDamaged)
	} else if len(queue) > 0 {
		err = j.write(s, queue, nil, now)
		j.finish(len(queue), err)
	}
	if err == nil {
		err = abandoned(s, s.begin(now, entriesOf(j.cfg.Newest()), number))
	}
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.around = true
		if missed {
			j.drop(0)
		}
		return err
	}
	j.running, j.due = true, false
	s.prune(now)
	return nil
}

// finish ends the writing of the n oldest in the queue. They stay in it where that is to be tried
// again.
func (j *Journal) finish(n int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = 0
	gone := j.queue[:n]
	switch {
	case err == nil:
		j.written.Add(told(gone))
	case errors.Is(err, errDamaged):
		j.dropped += told(gone)
	default:
		return
	}
	for _, e := range gone {
		j.size -= weight(e)
	}
	if j.queue = j.queue[n:]; len(j.queue) == 0 {
		j.queue = nil // and its memory is free
	}
}

// flush writes what is queued; where there is nothing, that somebody is watching, if that is due.
func (j *Journal) flush(s *store, now time.Time, due bool) error {
	j.mu.Lock()
	queue, around := j.queue, j.around
	j.writing, j.around = len(queue), false
	j.mu.Unlock()
	if len(queue) == 0 && !around && !due {
		return nil
	}
	var about []byte
	if around {
		about = j.cfg.Newest().About()
	}
	err := j.write(s, queue, about, now)
	j.finish(len(queue), err)
	if err != nil && around {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.around = true
	}
	return err
}

// write writes changes, and what stands around the instances, unless that is nil.
func (j *Journal) write(s *store, queue []Entry, about []byte, now time.Time) error {
	entries, number := fit(queue), s.number
	if len(queue) > 0 {
		number = queue[len(queue)-1].number
	}
	if about != nil {
		entries = append(entries, Entry{At: now, Data: about})
	}
	return abandoned(s, s.write(entries, now, false, number))
}

// abandoned has the newest file go on no longer where err says that it is damaged. While it is the
// disk that fails, no other file could be written either: the changes wait.
func abandoned(s *store, err error) error {
	if errors.Is(err, errDamaged) && s.live != nil {
		if errors.Is(err, syscall.EIO) {
			if err := s.disk(s.live.path+unsealed, err); err != nil {
				return err
			}
		}
		err = errors.Join(err, s.abandon(err))
	}
	return err
}

// fail says once why nothing can be written.
func (j *Journal) fail(err error) {
	cause := text.Line(describe(j.cfg.Dir, err), 300)
	if old := j.problem.Swap(&cause); old == nil || *old != cause {
		j.log.WithField("err", cause).Warn("History cannot be written: the frontend goes on without, keeps what fits in memory, and tries again")
	}
}

// describe names the folder, where an error does not.
func describe(dir string, err error) string {
	if said := err.Error(); strings.Contains(said, dir) {
		return said
	}
	return fmt.Sprintf("%s: %v", dir, err)
}

// recover says that it can be written again.
func (j *Journal) recover() {
	if j.problem.Swap(nil) == nil {
		return
	}
	j.mu.Lock()
	dropped := j.dropped
	j.mu.Unlock()
	j.log.WithField("dropped", dropped).Info("History is written again; dropped is how many changes it lacks since this process began")
}

// Problem says why nothing can be written now; empty: it can.
func (j *Journal) Problem() string {
	if cause := j.problem.Load(); cause != nil {
		return *cause
	}
	return ""
}
