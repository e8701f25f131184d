package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// perform takes one action. A lease that turns out to be gone is not an error but a fact: the next
// action follows from it.
func (r *Registrar) perform(ctx context.Context, what action, missing map[string]string) error {
	client, err := r.client.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime(r.lease.ttl))
	defer cancel()
	switch what {
	case grant:
		err = r.grant(ctx, client)
	case put:
		err = r.put(ctx, client, missing)
	case renew:
		err = r.renew(ctx, client)
	case verify:
		err = r.verify(ctx, client)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		now := time.Now()
		r.lease.expired(now)
		clear(r.confirmed)
		if r.expiredSince.IsZero() {
			r.expiredSince = now
		}
		r.log.WithField("endpoints", r.endpoints()).
			Warn("Lease is gone (expired or revoked): taking it again under the same ID")
		return nil
	}
	return err
}

func (r *Registrar) grant(ctx context.Context, client *clientv3.Client) error {
	sent := time.Now()
	ttl, err := leaseGrant(ctx, client, r.id, r.lease.ttl)
	if errors.Is(err, rpctypes.ErrLeaseExist) { // granted by an earlier call whose answer did not arrive
		r.lease.adopted(sent)
		return nil
	}
	if err != nil {
		return fmt.Errorf("grant lease: %w", err)
	}
	r.grants.Add(1)
	r.lease.renewed(sent, ttl)
	return nil
}

func (r *Registrar) put(ctx context.Context, client *clientv3.Client, missing map[string]string) error {
	if err := putAll(ctx, client, r.id, missing); err != nil {
		if errors.Is(err, rpctypes.ErrPermissionDenied) {
			// Once it may be an expired token, which the next client replaces. After that somebody
			// has to change the user's rights, and each attempt costs etcd an authentication.
			if r.deniedPuts++; r.deniedPuts > 1 {
				r.lease.putAt = time.Now().Add(timers.Jitter(deniedRetryEvery, timingJitter))
			}
		}
		return fmt.Errorf("put %d keys: %w", len(missing), err)
	}
	r.deniedPuts, r.lease.putAt = 0, time.Time{}
	for key := range missing {
		r.confirmed[key] = struct{}{}
	}
	r.lease.verified(time.Now())
	return nil
}

func (r *Registrar) renew(ctx context.Context, client *clientv3.Client) error {
	if r.stream == nil {
		stream, err := openLeaseStream(ctx, client)
		if err != nil {
			return fmt.Errorf("open a stream for renewals: %w", err)
		}
		r.stream = stream
	}
	sent := time.Now()
	ttl, err := r.stream.renew(ctx, r.id)
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	r.renewals.Add(1)
	r.lease.renewed(sent, ttl)
	return nil
}

// verify finds keys that are gone though the lease lives: deleted by hand, or taken over by another
// lease.
func (r *Registrar) verify(ctx context.Context, client *clientv3.Client) error {
	keys, err := leaseKeys(ctx, client, r.id)
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		if r.deniedReads++; r.deniedReads > 1 { // once it may be an expired token, which the next client replaces
			if r.deniedReads == 2 {
				r.log.WithField("err", err).Warn("etcd's user may not read the keys that it writes: one that somebody " +
					"removes is put back only when the lease was lost")
			}
			r.lease.verified(time.Now())
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("verify keys: %w", err)
	}
	r.deniedReads = 0
	r.lease.verified(time.Now())
	for key := range r.confirmed {
		if _, ok := keys[key]; !ok {
			delete(r.confirmed, key)
			r.log.WithField("key", key).Warn("Key was removed from etcd by somebody else: putting it back")
		}
	}
	return nil
}

// revoke gives the lease up, and with it the keys.
func (r *Registrar) revoke(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxCallTime)
	defer cancel()
	if r.grants.Load() == 0 && !r.lease.granted && r.failures.Load() == 0 {
		return // nothing was ever asked of etcd
	}
	start := time.Now()
	client, err := r.client.get()
	if err == nil {
		_, err = client.Revoke(ctx, clientv3.LeaseID(r.id))
	}
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		r.log.WithField("err", err).Warn("Could not revoke the lease: the keys stay until it expires")
		return
	}
	r.status.Store(&registrarStatus{})
	r.log.WithField("dur", time.Since(start).Round(time.Millisecond)).Info("Deregistered: keys deleted and lease revoked")
}

// failed notes that a call failed, and says so once for as long as it goes on.
func (r *Registrar) failed(err error) {
	r.failures.Add(1)
	r.closeStream()
	now := time.Now()
	r.lease.retryAt = now.Add(r.client.failed())
	log := r.log.WithField("err", r.client.withLastError(err))
	if !r.failingSince.IsZero() {
		log.Debug("Registration still cannot be kept up")
		return
	}
	r.failingSince = now
	if !r.lease.expires.IsZero() {
		log = log.WithField("lease_expires_in", r.lease.expires.Sub(now).Round(time.Millisecond))
	}
	if r.endpoints() == 0 {
		log.Warn("This process cannot be registered: others do not find it through etcd while that lasts. Trying again and again")
		return
	}
	log.Warn("Registration cannot be kept up: trying again and again")
}

func (r *Registrar) closeStream() {
	if r.stream != nil {
		r.stream.cancel()
		r.stream = nil
	}
}

// succeeded notes that a call did, and announces a registration that has become complete. Until
// then nothing is recovered: etcd may answer some calls and refuse others.
func (r *Registrar) succeeded(ctx context.Context) {
	if !r.lease.granted || len(r.missing()) > 0 {
		return
	}
	r.client.succeeded()
	if !r.failingSince.IsZero() {
		r.log.WithField("dur", time.Since(r.failingSince).Round(time.Millisecond)).Info("Registration is kept up again")
		r.failingSince = time.Time{}
	}
	if !r.complete {
		r.complete = true
		close(r.registered)
		r.log.WithField("endpoints", r.endpoints()).WithField("ttl", r.lease.ttl).Info("Registered")
		r.watching.Go(func() {
			// A loss meanwhile shows in the first full read.
			if timers.Sleep(ctx, rand.N(leaseWatchSpread)) == nil {
				r.leaseWatch.run(ctx)
			}
		})
		return
	}
	if !r.expiredSince.IsZero() {
		r.log.WithField("endpoints", r.endpoints()).WithField("dur", time.Since(r.expiredSince).Round(time.Millisecond)).
			Info("Registered again under the same ID")
		r.expiredSince = time.Time{}
	}
}
