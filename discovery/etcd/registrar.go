package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// DefaultLeaseTTL is how long a process that crashed stays registered, where nothing else is said.
const DefaultLeaseTTL = 10 * time.Second

// The registrar's timing.
const (
	minLeaseTTL      = 2 * time.Second // etcd itself grants no less with its default election timeout
	maxCallTime      = 3 * time.Second // bound on one call
	minCallTime      = time.Second
	verifyEvery      = 15 * time.Second
	regrantSpread    = 500 * time.Millisecond
	leaseWatchSpread = time.Second // so that a storm of registrations is not doubled by one of watches
)

// callTime bounds one call. A renewal begins with two thirds of the TTL left; it may hang on a
// member of etcd that is frozen, and there must be time for a second and a third attempt elsewhere.
func callTime(ttl time.Duration) time.Duration { return min(max(ttl/5, minCallTime), maxCallTime) }

// RegistrarConfig configures a Registrar.
type RegistrarConfig struct {
	Etcd   Config
	ID     dynmesh.InstanceID // default: a new one
	TTL    time.Duration      // of the lease, in whole seconds; default DefaultLeaseTTL
	Member dynmesh.MemberInfo // what the process says of itself; default of Role: RoleWorker
	Log    *logrus.Entry      // default: nothing is logged
}

// Registrar keeps the instances of one process in etcd, under one lease whose ID is theirs. Make it
// with NewRegistrar. It is a prometheus.Collector.
type Registrar struct {
	id         dynmesh.InstanceID
	etcd       Config
	log        *logrus.Entry
	client     *client
	leaseWatch *follower
	ran        atomic.Bool
	wakeup     chan struct{} // tells Run that something below has changed
	verifyNow  atomic.Bool   // lease and keys should be verified
	registered chan struct{} // closed by the first complete registration
	memberKey  string

	mu      sync.Mutex
	desired map[string]string // every key that should be in etcd, with its value

	// Of the goroutine that is in Run.
	lease        lease
	stream       *leaseStream        // for renewals; nil until the first, and after a failure
	confirmed    map[string]struct{} // keys that etcd has under the lease
	failingSince time.Time           // when calls began to fail; zero when they do not
	expiredSince time.Time           // when the lease was found gone; zero when all keys are in etcd
	deniedPuts   int                 // since the last put that was not denied
	deniedReads  int                 // since the last verification that was not denied
	complete     bool                // all keys have been in etcd once
	watching     sync.WaitGroup      // leaseWatch

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
		log:        log,
		client:     newClient(cfg.Etcd, log),
		wakeup:     make(chan struct{}, 1),
		registered: make(chan struct{}),
		memberKey:  memberKey(id),
		desired:    map[string]string{memberKey(id): string(member)},
		lease:      lease{ttl: cfg.TTL},
		confirmed:  make(map[string]struct{}),
	}
	// All keys go with the lease, so one of them tells of a revocation at once. It is watched on a
	// client of its own: a watch must never hold up a renewal.
	r.leaseWatch = &follower{
		client:     newClient(cfg.Etcd, log),
		key:        r.memberKey,
		staleAfter: maxCallTime,
		log:        log,
		onDelta: func(d delta) {
			if d.full || len(d.deletes) > 0 {
				r.verifyNow.Store(true)
				r.wake()
			}
		},
		onStale: func(time.Time, error) {},
	}
	r.status.Store(&registrarStatus{})
	return r, nil
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
	if _, ok := r.desired[instance.String()]; ok {
		return fmt.Errorf("register %s: added twice", endpoint)
	}
	r.desired[instance.String()] = string(instance.Value())
	r.wake()
	return nil
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
			granted: r.lease.granted, expires: r.lease.expires, complete: r.lease.granted && len(r.missing()) == 0,
		})
	}
	r.revoke(context.WithoutCancel(ctx))
	return nil
}

// missing returns the keys that are not known to be in etcd, with their values.
func (r *Registrar) missing() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.desired) == len(r.confirmed) {
		return nil // nothing that is desired is ever taken away
	}
	missing := make(map[string]string)
	for key, value := range r.desired {
		if _, ok := r.confirmed[key]; !ok {
			missing[key] = value
		}
	}
	return missing
}

// endpoints counts the instances.
func (r *Registrar) endpoints() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.desired) - 1
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
