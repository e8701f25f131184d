package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/output/dynamo"
)

// dynamoOutput steers Dynamo's own router.
type dynamoOutput struct {
	frontend *frontend.Config
	steer    bool
}

func (o *dynamoOutput) register(flags *pflag.FlagSet) {
	register(flags, setting{"steer-dynamo", "DYN_STEER_DYNAMO", &boolValue{&o.steer}, "withdraw Dynamo's workers that do not work, in etcd, and put them back once they do; the last frontend to stop puts all back, and after one that is killed another goes on, or dynmesh release"})
}

func (o *dynamoOutput) open(log *logrus.Entry) (output.Output, error) {
	if !o.steer {
		return nil, nil
	}
	if o.frontend.NoEtcd {
		return nil, errors.New("DYN_STEER_DYNAMO: it is set, and etcd is not among DYN_DISCOVERY_BACKEND: only what is registered in etcd can be withdrawn there")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	s, err := dynamo.New(dynamo.Config{Etcd: o.frontend.Etcd, By: fmt.Sprintf("the frontend at %s, pid %d", host, os.Getpid()), Log: log})
	if err != nil {
		return nil, err // not a nil *Steering in an interface that is not nil
	}
	return s, nil
}

// dynamoReleaser puts back what frontends with --steer-dynamo have withdrawn.
type dynamoReleaser struct{ etcd etcd.Config }

func (*dynamoReleaser) name() string { return "dynamo" }

func (r *dynamoReleaser) register(flags *pflag.FlagSet) { registerEtcd(flags, &r.etcd) }

func (r *dynamoReleaser) check() error { return checkEtcd(r.etcd) }

func (r *dynamoReleaser) release(ctx context.Context, dryRun bool, did func(string)) (err error) {
	w, err := etcd.NewWithdrawals(r.etcd, "dynmesh release", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	all, bad, err := w.List(ctx)
	if err != nil {
		return err
	}
	failed := []error{bad}
	for _, one := range all {
		about := fmt.Sprintf("%s, withdrawn by %s at %s (%s)", one.Key, one.By, one.Since.UTC().Format(time.RFC3339), one.Reason)
		if dryRun {
			did("would put back " + about)
			continue
		}
		outcome, err := w.Restore(ctx, one)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		did(about + ": " + string(outcome))
	}
	leader, err := w.Leader(ctx)
	if leader != "" {
		did(leader + " still steers, and withdraws again what does not work: stop it first")
	}
	return errors.Join(append(failed, err)...)
}
