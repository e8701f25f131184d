package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// DefaultLeaseTTL is how long a process that crashed stays registered, where nothing else is said.
const DefaultLeaseTTL = 10 * time.Second

// The registrar's timing.
const (
	minLeaseTTL    = 2 * time.Second // etcd itself grants no less with its default election timeout
	maxCallTime    = 3 * time.Second // bound on one call
	minCallTime    = time.Second
	verifyEvery    = 15 * time.Second
	regrantSpread  = 500 * time.Millisecond
	putBackSpread  = time.Second
	ownWatchSpread = time.Second // so that a storm of registrations is not doubled by one of watches
)

// callTime bounds one call. A renewal begins with two thirds of the TTL left; it may hang on a
// member of etcd that is frozen, and there must be time for a second and a third attempt elsewhere.
func callTime(ttl time.Duration) time.Duration { return min(max(ttl/5, minCallTime), maxCallTime) }

// RegistrarConfig configures a Registrar.
type RegistrarConfig struct {
	Etcd   Config
	ID     dynmesh.InstanceID // default: a new one
	TTL    time.Duration      // of the lease, in whole seconds; default DefaultLeaseTTL
	Bucket Bucket             // where instances are put; default BucketDynmesh
	Member dynmesh.MemberInfo // what the process says of itself; default of Role: RoleWorker
	Log    *logrus.Entry      // default: nothing is logged

	// Keys is told the gossip keys that etcd keeps for all members, in base64, the one that encrypts
	// first, whenever they change; or, without keys, why there are none for this member: those that it
	// was told before still hold. Where etcd has none, Run puts one there. It must not wait. Nil: they
	// are not followed, and none is put.
	Keys func(keys []string, err error)

	// MemberFirst has Run put nothing but what the process says of itself before Publish is called:
	// members believe a process that is registered, while its instances are not to be used yet.
	MemberFirst bool
}

// Registrar keeps the instances of one process in etcd, under one lease whose ID is theirs. Make it
// with NewRegistrar. It is a prometheus.Collector.
type Registrar struct {
	id         dynmesh.InstanceID
	etcd       Config
	bucket     Bucket
	log        *logrus.Entry
	client     *client
	ownWatch   *follower
	keys       *meshkey.Keeper // nil: they are not followed
	keyed      bool            // it was told keys
	ran        atomic.Bool
	wakeup     chan struct{} // tells Run that something below has changed
	verifyNow  atomic.Bool   // lease and keys should be verified
	registered chan struct{} // closed by the first complete registration
	memberKey  string

	mu        sync.Mutex
	member    dynmesh.MemberInfo
	desired   map[string]string // every key that should be in etcd, with its value
	withheld  map[string]string // those of instances that wait for Publish
	published bool              // none do, or will

	// Of the goroutine that is in Run.
	lease        lease
	stream       *leaseStream      // for renewals; nil until the first, and after a failure
	confirmed    map[string]string // what etcd has under the lease, as it was put
	failingSince time.Time         // when calls began to fail; zero when they do not
	expiredSince time.Time         // when the lease was found gone; zero when all keys are in etcd
	deniedPuts   int               // since the last put that was not denied
	deniedReads  int               // since the last verification that was not denied
	complete     bool              // all keys have been in etcd once
	watching     sync.WaitGroup    // ownWatch

	status                     atomic.Pointer[registrarStatus]
	grants, renewals, failures atomic.Int64
}

// registrarStatus is what metrics show of the state that Run owns.
type registrarStatus struct {
	granted, complete bool
	expires           time.Time
}

// NewRegistrar checks the configuration, and chooses the instance ID where it gives none. It does
// not connect.
func NewRegistrar(cfg RegistrarConfig) (*Registrar, error) {
	if err := cfg.Etcd.Validate(); err != nil {
		return nil, err
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultLeaseTTL
	}
	if cfg.TTL < minLeaseTTL || cfg.TTL%time.Second != 0 {
		return nil, refused("TTL", cfg.TTL, fmt.Sprintf("whole seconds, %v or more", minLeaseTTL))
	}
	cfg.Bucket = cmp.Or(cfg.Bucket, BucketDynmesh)
	if _, err := ParseBucket(string(cfg.Bucket)); err != nil {
		return nil, refused("Bucket", string(cfg.Bucket), fmt.Sprintf("%s or %s", BucketDynmesh, BucketDynamo))
	}
	cfg.Member.Role = cmp.Or(cfg.Member.Role, dynmesh.RoleWorker)
	if cfg.Member.Labels == nil {
		cfg.Member.Labels = map[string]string{}
	}
	member, err := json.Marshal(cfg.Member)
	if err != nil {
		return nil, fmt.Errorf("encode Member: %w", err)
	}
	if len(member) > discovery.MaxValueSize { // nobody would read it
		want := fmt.Sprintf("at most %d bytes, its Labels included, in place of %d", discovery.MaxValueSize, len(member))
		return nil, refused("Member", nil, want)
	}
	id := cfg.ID
	if id == 0 {
		id = dynmesh.NewInstanceID() // here and not by etcd, so that it is known before etcd first answers
	}
	if id > 1<<63-1 {
		return nil, refused("ID", id, "63 bits, as etcd's leases have")
	}
	log := logging.OrDiscard(cfg.Log).WithField("instance", id.String())
	r := &Registrar{
		id:         id,
		etcd:       cfg.Etcd,
		bucket:     cfg.Bucket,
		log:        log,
		client:     newClient(cfg.Etcd, log),
		wakeup:     make(chan struct{}, 1),
		registered: make(chan struct{}),
		memberKey:  memberKey(id),
		member:     cfg.Member,
		desired:    map[string]string{memberKey(id): string(member)},
		withheld:   map[string]string{},
		published:  !cfg.MemberFirst,
		lease:      lease{ttl: cfg.TTL},
		confirmed:  make(map[string]string),
	}
	// All keys go with the lease, so one of them tells of a revocation at once. It is watched on a
	// client of its own: a watch must never hold up a renewal.
	r.ownWatch = &follower{
		client:     newClient(cfg.Etcd, log),
		ranges:     []keyRange{{key: r.memberKey}},
		staleAfter: maxCallTime,
		log:        log,
		onDelta:    r.ownChanged,
		onStale:    func(time.Time, error) {},
	}
	if cfg.Keys != nil {
		r.followKeys(cfg.Keys)
	}
	r.status.Store(&registrarStatus{})
	return r, nil
}

// followKeys has the watch of the process's own key follow the mesh's gossip keys as well.
func (r *Registrar) followKeys(up func(keys []string, err error)) {
	r.keys = meshkey.NewKeeper(func(keys []string, err error) {
		source := dynmesh.KeyOfRegistry
		if err != nil && !r.keyed {
			source = dynmesh.KeyMissing
		}
		r.keyed = r.keyed || err == nil
		r.say(func(m *dynmesh.MemberInfo) { m.GossipKey = source })
		up(keys, err)
	}, r.log)
	f := r.ownWatch
	f.again = make(chan struct{}, 1)
	// Who may not read its own key, which is optional, hears of the others' all the same.
	f.ranges = []keyRange{{key: meshkey.Path}, {key: r.memberKey, optional: true, silent: true}}
	f.provide = r.provideKeys
	f.onStale = func(_ time.Time, cause error) {
		if errors.Is(cause, rpctypes.ErrPermissionDenied) {
			r.keys.Lack(fmt.Errorf("etcd's user may not read %s: %w", meshkey.Path, cause))
			delete(f.keys.revisions, meshkey.Path) // once it may again, it is told of what has not changed, too
		}
	}
}

// provideKeys puts gossip keys into etcd where a full read has found none, or others in place.
func (r *Registrar) provideKeys(ctx context.Context, client *clientv3.Client) error {
	_, held := r.ownWatch.keys.revisions[meshkey.Path]
	if held && r.keys.Wants() == 0 {
		return nil
	}
	callCtx, cancel := context.WithTimeout(ctx, maxCallTime)
	defer cancel()
	kv, err := r.keys.Provide(callCtx, client, held)
	if kv != nil {
		r.ownWatch.keys.revisions[meshkey.Path] = kv.ModRevision
		r.takeKeys(kv)
	}
	r.ownWatch.resyncIn = r.keys.Wants()
	return err
}

// takeKeys takes over gossip keys, and says in a rotation of them that it has.
func (r *Registrar) takeKeys(kv *mvccpb.KeyValue) {
	if step, changed := r.keys.Take(kv); changed && step != "" {
		r.say(func(m *dynmesh.MemberInfo) { m.KeyStep = step })
	}
}

// say changes what the process says of itself.
func (r *Registrar) say(change func(*dynmesh.MemberInfo)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.member)
	member, err := json.Marshal(r.member)
	if err != nil {
		panic(err) // unreachable: it was marshalled before, and what changes is text
	}
	if r.desired[r.memberKey] != string(member) {
		r.desired[r.memberKey] = string(member)
		r.wake()
	}
}

// ownChanged takes in what happened to the process's own key, and to the mesh's gossip keys.
func (r *Registrar) ownChanged(d delta) {
	for _, kv := range d.puts {
		if string(kv.Key) == meshkey.Path && r.keys != nil {
			r.takeKeys(kv)
			if r.keys.Wants() > 0 {
				r.ownWatch.resyncIn = time.Millisecond + rand.N(putBackSpread)
			}
		}
	}
	gone := d.full
	for _, key := range d.deletes {
		if key == r.memberKey {
			gone = true
			continue
		}
		// Each member puts them back. The first that does tells the others.
		r.ownWatch.resyncIn = time.Millisecond + rand.N(putBackSpread)
	}
	select {
	case <-r.registered:
	default:
		return // nothing is to be there yet
	}
	if gone {
		r.verifyNow.Store(true)
		r.wake()
	}
}

// ID returns the instance ID: the ID of the lease, the same for as long as the process lives.
func (r *Registrar) ID() dynmesh.InstanceID { return r.id }

// Registered returns a channel that is closed when all that was added is in etcd for the first
// time.
func (r *Registrar) Registered() <-chan struct{} { return r.registered }

// Add declares an instance of endpoint, reached by transport. Run puts it into etcd and keeps it
// there; Add itself waits for nothing. It refuses names that are not 1 to 255 characters of A-Z a-z
// 0-9 _ -, and transports that are not a JSON object. It is safe for concurrent use.
func (r *Registrar) Add(endpoint dynmesh.Endpoint, transport json.RawMessage) error {
	if err := endpoint.Validate(); err != nil {
		return fmt.Errorf("register %s: %w", endpoint, err)
	}
	transport, err := discovery.CheckTransport(transport)
	if err != nil {
		return fmt.Errorf("register %s: %w", endpoint, err)
	}
	instance := dynmesh.Instance{InstanceKey: dynmesh.InstanceKey{Endpoint: endpoint, ID: r.id}, Transport: transport}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := r.bucket.key(instance.InstanceKey)
	_, desired := r.desired[key]
	if _, withheld := r.withheld[key]; desired || withheld {
		return fmt.Errorf("register %s: added twice", endpoint)
	}
	if !r.published {
		r.withheld[key] = string(instance.Value())
		return nil
	}
	r.desired[key] = string(instance.Value())
	r.wake()
	return nil
}

// Publish has Run put the instances, too, where it was to wait for that.
func (r *Registrar) Publish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.desired, r.withheld)
	clear(r.withheld)
	r.published = true
	r.wake()
}

// whole says whether all that is to be registered is in etcd.
func (r *Registrar) whole() bool {
	r.mu.Lock()
	published := r.published
	r.mu.Unlock()
	return published && r.lease.granted && len(r.missing()) == 0
}

// Run keeps everything that was added in etcd until ctx ends. Then it revokes the lease, which
// removes the keys, and returns nil; that takes at most 3 s, and what could not be revoked ends
// with the lease's TTL. Run does not return because etcd is away: it goes on trying, with jittered
// backoff. It may be called once.
func (r *Registrar) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return errors.New("registrar: Run called twice")
	}
	defer r.client.close()
	defer r.closeStream()
	defer r.watching.Wait()
	if r.keys != nil { // at once: without them, this member hears nobody
		r.watching.Go(func() { r.ownWatch.run(ctx) })
	}
	for ctx.Err() == nil {
		if r.verifyNow.Swap(false) {
			r.lease.verifyAt = time.Time{}
		}
		missing := r.missing()
		r.lease.missing = len(missing)
		what, until := r.lease.next(time.Now())
		if what == idle {
			r.wait(ctx, until)
			continue
		}
		err := r.perform(ctx, what, missing)
		switch {
		case ctx.Err() != nil: // what failed now, failed because of that
		case err != nil:
			r.failed(err)
		default:
			r.succeeded(ctx)
		}
		r.status.Store(&registrarStatus{
			granted: r.lease.granted, expires: r.lease.expires, complete: r.whole(),
		})
	}
	r.revoke(context.WithoutCancel(ctx))
	return nil
}

// missing returns the keys that are not known to be in etcd, with their values.
func (r *Registrar) missing() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var missing map[string]string
	for key, value := range r.desired {
		if put, ok := r.confirmed[key]; ok && put == value {
			continue
		}
		if missing == nil {
			missing = make(map[string]string)
		}
		missing[key] = value
	}
	return missing
}

// endpoints counts the instances.
func (r *Registrar) endpoints() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.desired) - 1 + len(r.withheld)
}

func (r *Registrar) wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-r.wakeup:
	case <-timer.C:
	}
}

// wake wakes Run. One pending wake-up is enough, for Run then looks at everything.
func (r *Registrar) wake() {
	select {
	case r.wakeup <- struct{}{}:
	default:
	}
}

// perform takes one action. A lease that turns out to be gone is not an error but a fact: the next
// action follows from it.
func (r *Registrar) perform(ctx context.Context, what action, missing map[string]string) error {
	client, err := r.client.get(ctx)
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
		// An etcd that was emptied may say nothing of it on a watch that goes on at a later revision.
		select {
		case r.ownWatch.again <- struct{}{}:
		default: // it is to read anew already, or nothing but the own key
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
	maps.Copy(r.confirmed, missing)
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
	client, err := r.client.get(ctx)
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
		if !r.whole() {
			return // the instances are still to come
		}
		r.complete = true
		close(r.registered)
		r.log.WithField("endpoints", r.endpoints()).WithField("ttl", r.lease.ttl).Info("Registered")
		if r.keys == nil {
			r.watching.Go(func() {
				// A loss meanwhile shows in the first full read.
				if timers.Sleep(ctx, rand.N(ownWatchSpread)) == nil {
					r.ownWatch.run(ctx)
				}
			})
		}
		return
	}
	if !r.expiredSince.IsZero() {
		r.log.WithField("endpoints", r.endpoints()).WithField("dur", time.Since(r.expiredSince).Round(time.Millisecond)).
			Info("Registered again under the same ID")
		r.expiredSince = time.Time{}
	}
}
