package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// The loop's timing.
const (
	lookEvery  = time.Second     // at the journal, and at who leads
	stopWithin = 3 * time.Second // bound on putting all back
)

// Config says where Dynamo's workers are registered.
type Config struct {
	Etcd etcd.Config
	By   string        // this frontend, for people
	Log  *logrus.Entry // default: nothing is logged
}

// Steering withdraws Dynamo's workers that do not work. It is an [output.Output].
type Steering struct {
	log  *logrus.Entry
	etcd *etcd.Withdrawals

	// Of the goroutine that is in Run.
	feed       *output.Feed
	leads      bool               // it has been logged
	decided    *output.Assignment // nil: nothing is
	wants      map[dynmesh.InstanceKey]want
	journal    []etcd.Withdrawal // as it was read last
	read       bool              // once at least
	memory     memory
	unreported bool   // there is something to report
	failing    bool   // it has been logged that etcd cannot be asked
	spoilt     string // what has been logged of entries that are none
}

// New checks the configuration. It does not connect.
func New(cfg Config) (*Steering, error) {
	log := logging.OrDiscard(cfg.Log).WithField("output", "dynamo")
	w, err := etcd.NewWithdrawals(cfg.Etcd, cfg.By, log)
	if err != nil {
		return nil, err
	}
	return &Steering{log: log, etcd: w, memory: newMemory()}, nil
}

// Name implements output.Output.
func (*Steering) Name() string { return "dynamo" }

// WhenGone implements output.Output.
func (*Steering) WhenGone() string {
	return "the last frontend to stop in order puts all workers back; after one that is killed, another that steers goes on within 7 s, " +
		"or the same one once it runs again; where there is none, 'dynmesh release' puts them back"
}

// Run implements output.Output. That etcd is away does not end it.
func (s *Steering) Run(ctx context.Context, feed *output.Feed) error {
	if ctx.Err() != nil {
		return s.etcd.Close(ctx) // it has never begun: nothing is sent
	}
	s.feed = feed
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	s.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return s.stop(context.WithoutCancel(ctx))
		case <-ticker.C:
			s.look(ctx)
		case <-feed.Changed():
			s.decided = feed.Newest()
			s.wants, s.unreported = wanted(s.decided), true
			s.act(ctx) // by a journal that was read within the last second: each step finds out whether it still fits
		}
		s.report()
	}
}

// look finds out who leads and what stands in the journal, and does what follows.
func (s *Steering) look(ctx context.Context) {
	err := s.campaign(ctx)
	var journal []etcd.Withdrawal
	var bad error
	if err == nil {
		journal, bad, err = s.etcd.List(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	s.say(err, bad)
	leads := s.etcd.Leads(time.Now())
	s.feed.Lead(leads)
	if leads && !s.leads {
		s.log.WithField("withdrawn", len(journal)).Info("This frontend steers Dynamo: it withdraws workers that do not work, and puts them back")
	}
	s.leads = leads
	if err != nil {
		return
	}
	s.unreported = s.unreported || !s.read || !slices.Equal(journal, s.journal)
	s.journal, s.read = journal, true
	s.act(ctx)
}

// campaign has this process be a candidate. One that may change nothing leaves that to another,
// where there is one; and is none at its start, before it has decided anything.
func (s *Steering) campaign(ctx context.Context) error {
	if s.feed.Frozen() {
		if resigned, err := s.etcd.Resign(ctx); resigned || err != nil {
			return err
		}
	}
	return s.etcd.Campaign(ctx)
}

// say logs what keeps this process from steering, once, and the end of that.
func (s *Steering) say(err, bad error) {
	switch {
	case err != nil && !s.failing:
		s.log.WithError(err).Warn("Dynamo cannot be steered now: etcd does not answer, or refuses; what is withdrawn stays so")
	case err == nil && s.failing:
		s.log.Info("Dynamo can be steered again")
	}
	s.failing = err != nil
	spoilt := ""
	if bad != nil {
		spoilt = bad.Error()
	}
	if spoilt != "" && spoilt != s.spoilt {
		s.log.WithError(bad).Warn("The journal of what is withdrawn has entries that are none: they are left alone")
	}
	s.spoilt = spoilt
}

// act does what is to be done, where this process leads and nothing speaks against a change.
func (s *Steering) act(ctx context.Context) {
	if s.decided == nil || !s.read {
		return
	}
	for _, do := range steps(s.wants, s.journal, s.memory, time.Now()) {
		now := time.Now()
		if ctx.Err() != nil || !s.etcd.Leads(now) || s.feed.Frozen() {
			return
		}
		var err error
		if do.withdraw {
			err = s.withdraw(ctx, do, now)
		} else {
			err = s.restore(ctx, do.entry)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, etcd.ErrNotLeading) {
			s.failed(do.key, err, now)
		}
	}
}

func (s *Steering) withdraw(ctx context.Context, do step, now time.Time) error {
	w, err := s.etcd.Withdraw(ctx, do.key, do.reason, now)
	if w != nil {
		s.journal, s.unreported = append(s.journal, *w), true
	}
	return err
}

func (s *Steering) restore(ctx context.Context, w etcd.Withdrawal) error {
	outcome, err := s.etcd.Restore(ctx, w)
	if err != nil {
		return err
	}
	if outcome == etcd.Superseded {
		s.memory.returned[w.Key] = time.Now()
	}
	s.journal = slices.DeleteFunc(slices.Clone(s.journal), func(o etcd.Withdrawal) bool { return o.Key == w.Key })
	s.unreported = true
	s.log.WithFields(logrus.Fields{"endpoint": w.Key.Endpoint.String(), "instance": w.Key.ID.String()}).Infof("Withdrawn worker is %s", outcome)
	return nil
}

// report says what stands, whoever has done it. What is not known of etcd is not reported.
func (s *Steering) report() {
	if !s.unreported || s.decided == nil || !s.read {
		return
	}
	s.unreported = false
	withdrawn := make(map[dynmesh.InstanceKey]*etcd.Withdrawal, len(s.journal))
	for n := range s.journal {
		withdrawn[s.journal[n].Key] = &s.journal[n]
	}
	now := time.Now()
	for _, t := range s.decided.Targets {
		if !isEndpoint(t) {
			continue
		}
		for n := range t.Servers {
			if one := &t.Servers[n]; steered(one) {
				shown := stands(*one, withdrawn[one.Instance], s.wants[one.Instance])
				s.feed.AppliedOne(t, &shown, now)
			}
		}
	}
}

// failed reports that an instance could not be moved.
func (s *Steering) failed(key dynmesh.InstanceKey, err error, now time.Time) {
	for _, t := range s.decided.Targets {
		if one := t.Server(key); one != nil && isEndpoint(t) {
			s.feed.Failed(&output.Target{Name: t.Name, Servers: []output.Server{*one}}, err, now)
		}
	}
}

// stop leaves what is withdrawn to another frontend that steers, or puts it back.
func (s *Steering) stop(ctx context.Context) error {
	s.feed.Lead(false)
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	err := s.etcd.Campaign(ctx) // also where it was no candidate: it may be the last one
	if err != nil {
		err = s.etcd.Campaign(ctx) // on another connection, and under another lease where that had ended
	}
	resigned := false
	if err == nil {
		resigned, err = s.etcd.Resign(ctx)
	}
	if err == nil && !resigned {
		err = s.restoreAll(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%w; what is withdrawn stays so until a frontend steers, or 'dynmesh release' is run", err)
	}
	return errors.Join(err, s.etcd.Close(ctx))
}

func (s *Steering) restoreAll(ctx context.Context) error {
	all, bad, err := s.etcd.List(ctx)
	failed := []error{bad, err}
	for _, w := range all {
		failed = append(failed, s.restore(ctx, w))
	}
	return errors.Join(failed...)
}
