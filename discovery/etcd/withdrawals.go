package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The timing of a candidate.
const (
	steeringTTL  = 5 * time.Second // after a leader that is killed, the next one follows
	renewalEvery = time.Second
	steeringCall = 1500 * time.Millisecond // bound on one call: two of them fit into what is left of a lease
)

// maxJournalReason is how much of a reason is kept, in bytes.
const maxJournalReason = 400

// maxSpoilt is how many entries of the journal that are none an error names.
const maxSpoilt = 20

// Withdrawals takes instances out of Dynamo's bucket, so that its routers leave them alone, and
// puts them back. Make it with NewWithdrawals. One goroutine may use it.
//
// Each step is one transaction. An instance stands in the bucket or in the journal,
// v1/dynmesh/withdrawn/, and there is no moment between at which somebody might die:
//
//	step     | if                                        | then
//	-------- | ----------------------------------------- | ---------------------------------------
//	withdraw | the key is as read, and this one leads    | key deleted, entry with its value put
//	restore  | the entry is as read, and there is no key | key put with that value, entry deleted
//	drop     | the entry is as read, and there is a key  | entry deleted: who put it knows better
//
// Both are under the worker's own lease, whoever writes them. So an entry ends with the lease, and
// who has died is not put back: what stands in the journal is what has to be put back, and no more.
//
// One leads at a time: of the keys below v1/dynmesh/steering/, each under a lease of its writer,
// the one that was created first.
type Withdrawals struct {
	client *client
	by     string

	lease   dynmesh.InstanceID // 0: none
	expires time.Time
	renewAt time.Time
	stream  *leaseStream
	created int64 // revision of the own key among candidates; 0: there is none
	leads   bool
}

// Withdrawal is an entry of the journal.
type Withdrawal struct {
	Key dynmesh.InstanceKey
	dynmesh.Withdrawal

	// Back says that its key stands in the bucket again, put there by somebody else.
	Back bool

	value    string
	lease    clientv3.LeaseID
	revision int64 // of the entry's last change
}

// journalEntry is the value of an entry.
type journalEntry struct {
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	Value  string    `json:"value"` // the instance's, byte for byte
}

// decodeJournal reads the value of an entry. Its error is a *discovery.RejectError.
func decodeJournal(value []byte) (journalEntry, error) {
	const most = 4 * discovery.MaxValueSize // quotes and the like are escaped
	if len(value) > most {
		return journalEntry{}, discovery.Rejectf(dynmesh.RejectSize, "value has %d bytes, more than %d", len(value), most)
	}
	var e journalEntry
	if err := json.Unmarshal(value, &e); err != nil {
		return journalEntry{}, discovery.Rejectf(dynmesh.RejectJSON, "value is not an entry of the journal")
	}
	e.By, e.Reason = text.Line(e.By, maxJournalReason), text.Line(e.Reason, maxJournalReason)
	return e, nil
}

func (e journalEntry) shown() dynmesh.Withdrawal {
	return dynmesh.Withdrawal{By: e.By, Since: e.Since, Reason: e.Reason}
}

func (e journalEntry) encode() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return string(bytes.TrimSpace(b.Bytes())), err
}

// ErrNotLeading says that another process leads, or none is known to.
var ErrNotLeading = errors.New("another frontend steers")

// errNoLease says that the lease that a candidate had is gone.
var errNoLease = errors.New("the lease has ended")

// NewWithdrawals checks the configuration. It does not connect. By says who withdraws.
func NewWithdrawals(cfg Config, by string, log *logrus.Entry) (*Withdrawals, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Withdrawals{client: newClient(cfg, logging.OrDiscard(log)), by: text.Line(by, maxJournalReason)}, nil
}

// Leads says whether this process led when Campaign returned last, and its lease cannot have ended
// since.
func (w *Withdrawals) Leads(now time.Time) bool { return w.leads && now.Before(w.expires) }

// Campaign makes this process one of those who would lead, keeps it one, and finds out whether it
// does. It is to be called each second.
func (w *Withdrawals) Campaign(ctx context.Context) error {
	err := w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		if err := w.renew(ctx, c); err != nil {
			return err
		}
		all, err := candidates(ctx, c)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(kv *mvccpb.KeyValue) bool { return kv.CreateRevision == w.created })
		if at < 0 {
			return errNoLease // somebody has deleted the key, or etcd is another one
		}
		w.leads = at == 0
		return nil
	})
	if err != nil {
		w.leads = false
		w.dropStream()
		if errors.Is(err, errNoLease) || !time.Now().Before(w.expires) {
			w.lease, w.created = 0, 0
		}
		return fmt.Errorf("take part in the election of who steers: %w", err)
	}
	return nil
}

// renew takes a lease and puts the key under it, or keeps them.
func (w *Withdrawals) renew(ctx context.Context, c *clientv3.Client) error {
	sent := time.Now()
	if w.created == 0 {
		w.lease = dynmesh.NewInstanceID()
		ttl, err := leaseGrant(ctx, c, w.lease, steeringTTL)
		if err != nil {
			return err
		}
		put, err := c.Put(ctx, w.candidateKey(), w.by, clientv3.WithLease(clientv3.LeaseID(w.lease)))
		if err != nil {
			return err
		}
		w.created, w.expires, w.renewAt = put.Header.Revision, sent.Add(ttl), sent.Add(renewalEvery)
		return nil
	}
	if sent.Before(w.renewAt) {
		return nil
	}
	if w.stream == nil {
		var err error
		if w.stream, err = openLeaseStream(ctx, c); err != nil {
			return err
		}
	}
	ttl, err := w.stream.renew(ctx, w.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return errNoLease
	}
	if err != nil {
		return err
	}
	w.expires, w.renewAt = sent.Add(ttl), sent.Add(renewalEvery)
	return nil
}

func (w *Withdrawals) candidateKey() string { return steeringPrefix + w.lease.String() }

// candidates returns those who would lead, the one who does first.
func candidates(ctx context.Context, c *clientv3.Client) ([]*mvccpb.KeyValue, error) {
	r, err := c.Get(ctx, steeringPrefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, err
	}
	return r.Kvs, nil
}

// Leader returns who leads, in its own words; empty: nobody.
func (w *Withdrawals) Leader(ctx context.Context) (by string, err error) {
	err = w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		all, err := candidates(ctx, c)
		if len(all) > 0 {
			by = text.Line(string(all[0].Value), maxJournalReason)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read who steers: %w", err)
	}
	return by, nil
}

// List reads the journal, by key. An entry that is no instance is left out and named in the error
// that comes with the rest: it cannot be put back.
func (w *Withdrawals) List(ctx context.Context) (all []Withdrawal, bad, err error) {
	err = w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		var spoilt []error
		r, err := c.Get(ctx, withdrawnPrefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			i, err := DecodeInstance(string(kv.Key), kv.Value)
			if err != nil {
				spoilt = append(spoilt, fmt.Errorf("%s: %w", discovery.ShownKey(string(kv.Key)), err))
				continue
			}
			e, _ := decodeJournal(kv.Value) // it was decoded just now
			all = append(all, Withdrawal{
				Key: i.InstanceKey, Withdrawal: *i.Withdrawn, value: e.Value, lease: clientv3.LeaseID(kv.Lease), revision: kv.ModRevision,
			})
		}
		if more := len(spoilt) - maxSpoilt; more > 0 {
			spoilt = append(spoilt[:maxSpoilt], fmt.Errorf("and %d more", more))
		}
		bad = errors.Join(spoilt...)
		for some := range slices.Chunk(all, maxTxnOps) {
			var ops []clientv3.Op
			for _, one := range some {
				ops = append(ops, clientv3.OpGet(one.Key.String(), clientv3.WithCountOnly()))
			}
			there, err := c.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				return err
			}
			for n, r := range there.Responses {
				some[n].Back = r.GetResponseRange().Count > 0
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the journal of what is withdrawn: %w", err)
	}
	return all, bad, nil
}

// Withdraw takes an instance out of Dynamo's bucket, and returns its entry; nil: it was not there,
// or changed meanwhile, or its lease has ended. The error is ErrNotLeading where another may write.
func (w *Withdrawals) Withdraw(ctx context.Context, key dynmesh.InstanceKey, reason string, now time.Time) (*Withdrawal, error) {
	if !w.Leads(now) {
		return nil, ErrNotLeading
	}
	var done *Withdrawal
	err := w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Get(ctx, key.String())
		if err != nil || len(r.Kvs) == 0 {
			return err
		}
		kv := r.Kvs[0]
		if _, err := discovery.DecodeInstance(key, kv.Value); err != nil {
			return err // it would stand in the journal as none
		}
		e := journalEntry{w.by, now.UTC().Truncate(time.Millisecond), text.Line(reason, maxJournalReason), string(kv.Value)}
		entry, err := e.encode()
		if err != nil {
			return err
		}
		txn, err := c.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(key.String()), "=", kv.ModRevision),
			w.stillCandidate(),
		).Then(
			clientv3.OpDelete(key.String()),
			clientv3.OpPut(withdrawnKey(key), entry, clientv3.WithLease(clientv3.LeaseID(kv.Lease))),
		).Commit()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil // the key goes with it
		}
		if err == nil && txn.Succeeded {
			done = &Withdrawal{
				Key: key, Withdrawal: e.shown(), value: e.Value, lease: clientv3.LeaseID(kv.Lease), revision: txn.Header.Revision,
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("withdraw %s: %w", key, err)
	}
	return done, nil
}

// stillCandidate is what holds while this process may write: who has lost its lease has lost its
// key. One that was created before it may have gone, and never one that was created later: so who
// has led leads for as long as its key stands.
func (w *Withdrawals) stillCandidate() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(w.candidateKey()), "=", w.created)
}

// Outcome is what became of an entry of the journal.
type Outcome string

// The outcomes.
const (
	Restored   Outcome = "put back"
	Superseded Outcome = "registered anew by its worker: left as it is"
	Ended      Outcome = "gone: its lease has ended, or somebody has put it back"
)

// Restore puts an instance back into Dynamo's bucket, as it was and under its worker's lease. It
// needs no lead: an instance that nobody vouches for may be put back by anybody.
func (w *Withdrawals) Restore(ctx context.Context, one Withdrawal) (Outcome, error) {
	outcome := Ended
	entry, key := withdrawnKey(one.Key), one.Key.String()
	asRead := clientv3.Compare(clientv3.ModRevision(entry), "=", one.revision)
	err := w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		txn, err := c.Txn(ctx).If(asRead, clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(
			clientv3.OpPut(key, one.value, clientv3.WithLease(one.lease)),
			clientv3.OpDelete(entry),
		).Commit()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil // the entry goes with it
		}
		if err != nil {
			return err
		}
		if txn.Succeeded {
			outcome = Restored
			return nil
		}
		txn, err = c.Txn(ctx).If(asRead, clientv3.Compare(clientv3.CreateRevision(key), ">", 0)).Then(clientv3.OpDelete(entry)).Commit()
		if err == nil && txn.Succeeded {
			outcome = Superseded
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("put back %s: %w", one.Key, err)
	}
	return outcome, nil
}

// Resign ends the candidacy where another candidate stays, who then leads or will. It says whether
// this process is no candidate now: else nobody is left, and what is withdrawn is for it to put
// back. Campaign begins another candidacy, after those of all others.
func (w *Withdrawals) Resign(ctx context.Context) (resigned bool, err error) {
	if w.created == 0 {
		return true, nil // whoever leads, it is another one
	}
	err = w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
		all, err := candidates(ctx, c)
		if err != nil {
			return err
		}
		for _, kv := range all {
			if kv.CreateRevision == w.created {
				continue
			}
			// It may be resigning, too: of two, one finds the other gone.
			stays := clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision)
			txn, err := c.Txn(ctx).If(stays).Then(clientv3.OpDelete(w.candidateKey())).Commit()
			if err != nil {
				return err
			}
			if resigned = txn.Succeeded; resigned {
				w.leads, w.created = false, 0
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("hand over: %w", err)
	}
	return resigned, nil
}

// Close ends the candidacy, whatever stands in the journal, and the connection.
func (w *Withdrawals) Close(ctx context.Context) error {
	var err error
	if w.lease != 0 {
		err = w.call(ctx, func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Revoke(ctx, clientv3.LeaseID(w.lease))
			if errors.Is(err, rpctypes.ErrLeaseNotFound) {
				err = nil
			}
			return err
		})
	}
	w.dropStream()
	w.client.close()
	w.leads, w.lease, w.created = false, 0, 0
	if err != nil {
		return fmt.Errorf("end the lease of who steers: %w", err)
	}
	return nil
}

func (w *Withdrawals) dropStream() {
	if w.stream != nil {
		w.stream.cancel()
		w.stream = nil
	}
}

// call does something with etcd, bounded. After a failure, the next one connects anew.
func (w *Withdrawals) call(ctx context.Context, do func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, steeringCall)
	defer cancel()
	c, err := w.client.get(ctx)
	if err == nil {
		err = do(ctx, c)
	}
	if err != nil {
		err = w.client.withLastError(err)
		w.dropStream()
		w.client.close()
		return err
	}
	return nil
}
