package meshkey

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keeper is a member's part: it takes over what etcd holds, and puts it there where it is missing.
// One goroutine may use it. Make it with NewKeeper.
type Keeper struct {
	up  func(keys []string, err error)
	log *logrus.Entry

	value Value  // the last that could be used
	known bool   // there is one
	lacks string // why etcd has nothing that can be used, as said last
}

// NewKeeper returns one that tells up the keys, the one that encrypts first, whenever they change;
// or, with no keys, why etcd has none for this member: those that it was told before still hold.
func NewKeeper(up func(keys []string, err error), log *logrus.Entry) *Keeper {
	return &Keeper{up: up, log: log}
}

// Provide puts the keys that are known, or new ones, where etcd has none, and returns what it has
// then; nil: still nothing.
func (k *Keeper) Provide(ctx context.Context, c *clientv3.Client) (*mvccpb.KeyValue, error) {
	value := k.value
	if !k.known {
		value = New()
	}
	kv, made, err := create(ctx, c, value)
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

// Take takes over what etcd holds. It returns the step of the rotation that is under way, and
// whether the value can be used and is another one than before.
func (k *Keeper) Take(held []byte) (step string, changed bool) {
	value, err := Decode(held)
	if err != nil {
		k.Lack(fmt.Errorf("what etcd holds at %s cannot be used as keys: %w", Path, err))
		return "", false
	}
	if k.known && k.lacks == "" && value.Equal(k.value) {
		return "", false
	}
	said := "Keys changed"
	switch {
	case !k.known:
		said = ""
	case value.Equal(k.value):
		said = "The mesh's gossip keys can be had from etcd again, and are the same"
	}
	k.value, k.known, k.lacks = value, true, ""
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

// create puts the value unless there is one, without a lease, and returns what is there then.
func create(ctx context.Context, c *clientv3.Client, value Value) (kv *mvccpb.KeyValue, made bool, err error) {
	encoded := value.Encode()
	txn, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(Path), "=", 0)).
		Then(clientv3.OpPut(Path, encoded)).
		Else(clientv3.OpGet(Path)).
		Commit()
	if err != nil {
		return nil, false, err
	}
	if txn.Succeeded {
		return &mvccpb.KeyValue{Key: []byte(Path), Value: []byte(encoded), ModRevision: txn.Header.Revision}, true, nil
	}
	return txn.Responses[0].GetResponseRange().Kvs[0], false, nil // it is there: the condition failed
}
