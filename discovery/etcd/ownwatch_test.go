package etcd

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
)

// Who might not read the keys for a while, and may again, has them again, though nobody has changed
// them meanwhile.
func TestKeysMayBeReadAgain(t *testing.T) {
	var told []error
	r, err := NewRegistrar(RegistrarConfig{
		Etcd: Config{Endpoints: []string{"http://127.0.0.1:1"}}, Keys: func(_ []string, err error) { told = append(told, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	entry := &mvccpb.KeyValue{Key: []byte(meshkey.Path), Value: []byte(meshkey.New().Encode()), ModRevision: 3}
	read := func() {
		d, _ := r.ownWatch.keys.replace([]*mvccpb.KeyValue{entry}, &pb.ResponseHeader{ClusterId: 1, Revision: 3}, now)
		r.ownChanged(d)
	}
	denied := func() {
		r.ownWatch.keys.markStale()
		r.ownWatch.onStale(now, rpctypes.ErrPermissionDenied)
	}
	denied() // before anything is known
	read()
	read()
	denied()
	denied()
	read()
	if len(told) != 4 || !slices.Equal([]bool{told[0] != nil, told[1] != nil, told[2] != nil, told[3] != nil}, []bool{true, false, true, false}) {
		t.Errorf("it was told %v, want none, keys, none, keys", told)
	}
	if !errors.Is(told[0], rpctypes.ErrPermissionDenied) {
		t.Errorf("it was told %v", told[0])
	}
}
