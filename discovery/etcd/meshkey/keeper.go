package meshkey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Contested is how long members stand by their keys after one that knew none has made another. In
// that time those that reach etcd have noticed that it came back without the keys: where its watch
// does not tell, the next renewal of their leases does.
const Contested = 30 * time.Second

// Keeper is a member's part: it takes over what etcd holds, and puts it there where it is missing.
// One goroutine may use it. Make it with NewKeeper.
type Keeper struct {
	up  func(keys []string, err error)
	log *logrus.Entry

	value Value  // the last that could be used
	known bool   // there is one
	lacks string // why etcd has nothing that can be used, as said last

	rival *mvccpb.KeyValue // what etcd holds in place of value, which is to be put back; nil: nothing
	until time.Time        // when it is taken over, if that has not been possible
	both  bool             // up has been told of a rival's keys beside those of value
}

// NewKeeper returns one that tells up the keys, the one that encrypts first, whenever they change;
// or, with no keys, why etcd has none for this member: those that it was told before still hold.
func NewKeeper(up func(keys []string, err error), log *logrus.Entry) *Keeper {
	return &Keeper{up: up, log: log}
}

// Wants says in how long Provide is wanted though etcd has keys; 0: it is not.
func (k *Keeper) Wants() time.Duration {
	if k.rival == nil {
		return 0
	}
	return min(max(time.Until(k.until), time.Millisecond), Contested)
}

// Provide puts the keys that are known, or new ones, where etcd has none; or in place of what it
// has, where that [Keeper.Wants] it. held: it has some. It returns what etcd has then; nil: still
// nothing that is to be taken.
func (k *Keeper) Provide(ctx context.Context, c *clientv3.Client, held bool) (*mvccpb.KeyValue, error) {
	if held {
		return k.putBack(ctx, c)
	}
	k.rival = nil // it is gone, too
	value := k.value.stands()
	if !k.known {
		value = madeAt(time.Now())
	}
	kv, made, err := put(ctx, c, value, 0)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied): // no expired token: etcd has just let this client read
		k.Lack(fmt.Errorf("there is no key in etcd at %s, and etcd's user may not put one there", Path))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("put a gossip key for the mesh: %w", err)
	case made && k.known:
		k.log.WithField("key", Path).Warn("The mesh's gossip keys were gone from etcd: they are put back as they were")
	case made:
		k.log.WithField("key", Path).Info("The mesh had no gossip key: etcd keeps a new one for all members")
	}
	return kv, nil
}

// putBack puts the keys that are known in place of those of one who knew none. It returns what etcd
// has then; nil: nothing that is to be taken.
func (k *Keeper) putBack(ctx context.Context, c *clientv3.Client) (*mvccpb.KeyValue, error) {
	if !time.Now().Before(k.until) {
		got, err := c.Get(ctx, Path) // somebody else may have put them back since the rival's were read
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", Path, err)
		}
		if len(got.Kvs) == 0 {
			return nil, nil // of which the watch tells
		}
		return got.Kvs[0], nil
	}
	kv, replaced, err := put(ctx, c, k.value.stands(), k.rival.ModRevision)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return nil, nil // somebody else may, until then
	case err != nil:
		return nil, fmt.Errorf("put the mesh's gossip keys back: %w", err)
	case replaced:
		k.log.WithField("key", Path).Warn("The mesh's gossip keys were gone from etcd, and a member that did not know them has made others: " +
			"they are put back as they were")
	}
	return kv, nil // nil: it has just been deleted, of which the watch tells
}

// Take takes over what etcd holds. It returns the step of the rotation that is under way, and
// whether the value can be used and is another one than before.
//
// What a member has made just now that knew no key is not taken over by those who have one, but
// understood as well: Provide puts theirs back. Else the first that restarts after etcd was emptied
// would part those who hear of its key from those who do not, yet or for as long as etcd is out of
// their reach. Who may write the entry may have any key used, in this way and without.
func (k *Keeper) Take(kv *mvccpb.KeyValue) (step string, changed bool) {
	value, err := Decode(kv.Value)
	if err != nil {
		k.rival = nil
		k.Lack(fmt.Errorf("what etcd holds at %s cannot be used as keys: %w", Path, err))
		return "", false
	}
	k.rival = nil
	if until := value.gives(k.value, time.Now()); k.known && !until.IsZero() {
		k.rival, k.until, k.both, k.lacks = kv, until, true, ""
		both := append(k.value.Keys(), value.Keys()...)
		k.up(both[:min(len(both), maxKeys)], nil)
		return "", false
	}
	same := k.known && value.Equal(k.value)
	if same && k.lacks == "" && !k.both {
		return "", false
	}
	said := "Keys changed"
	switch {
	case !k.known, same && k.lacks == "":
		said = ""
	case same:
		said = "The mesh's gossip keys can be had from etcd again, and are the same"
	}
	k.value, k.known, k.both, k.lacks = value, true, false, ""
	k.up(value.Keys(), nil)
	if said != "" {
		k.log.WithField("keys", len(value.Keys())).Info(said)
	}
	return value.Step(), true
}

// Lack notes why etcd has no keys for this member. It is logged once for as long as it is so.
func (k *Keeper) Lack(why error) {
	if k.lacks == why.Error() {
		return
	}
	k.lacks = why.Error()
	if entry := k.log.WithField("err", why); k.known {
		entry.Error("The mesh's gossip keys cannot be had from etcd: going on with those that were there. Members that start now cannot join")
	} else {
		entry.Warn("This member does not gossip: there is no key for it. Give it one (DYN_GOSSIP_KEY), or the right to " + Path + " in etcd; " +
			"verdicts rest on the registry meanwhile")
	}
	k.up(nil, why)
}

// put puts the value in place of what has a revision, or where there is nothing, which is revision
// 0. It returns what is there then; nil: nothing.
func put(ctx context.Context, c *clientv3.Client, value Value, revision int64) (kv *mvccpb.KeyValue, done bool, err error) {
	encoded := value.Encode()
	txn, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(Path), "=", revision)).
		Then(clientv3.OpPut(Path, encoded)).
		Else(clientv3.OpGet(Path)).
		Commit()
	if err != nil {
		return nil, false, err
	}
	if txn.Succeeded {
		return &mvccpb.KeyValue{Key: []byte(Path), Value: []byte(encoded), ModRevision: txn.Header.Revision}, true, nil
	}
	if kvs := txn.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		kv = kvs[0]
	}
	return kv, false, nil
}
