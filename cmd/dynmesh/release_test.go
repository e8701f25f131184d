package main

import (
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What a frontend has withdrawn is put back, once, with a line for each.
func TestReleaseDynamo(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	key := testkit.Key("n", "c", "e", 0xa1)
	lease, err := client.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	const value = `{"namespace":"n","component":"c","endpoint":"e","instance_id":161,"transport":{"tcp":"10.0.0.1:1/a1/e"}}`
	if _, err := client.Put(t.Context(), key.String(), value, clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	steers, err := etcd.NewWithdrawals(etcd.Config{Endpoints: []string{server.Endpoint()}}, "a frontend", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := steers.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if done, err := steers.Withdraw(t.Context(), key, "it hangs", time.Now()); err != nil || done == nil {
		t.Fatal(done, err)
	}
	release := func(args string) (code int, stdout, stderr string) {
		var out, errs testkit.Buffer
		code = execute(t.Context(), strings.Fields("release --only dynamo "+args), &out, &errs)
		return code, out.String(), errs.String()
	}
	const nobody = "--etcd-endpoints http://127.0.0.1:1"
	for _, tt := range []struct {
		args, stdout, stderr string
		code                 int
	}{
		{"--etcd-endpoints " + server.Endpoint() + " --dry-run", "dynamo: would put back v1/instances/n/c/e/a1, withdrawn by a frontend at ", "", 0},
		{"--etcd-endpoints " + server.Endpoint(), "(it hangs): put back\ndynamo: a frontend still steers, and withdraws again what does not work: stop it first\n", "", 0},
		{"--etcd-endpoints " + server.Endpoint(), "dynamo: a frontend still steers", "", 0},
		{nobody, "", "dynmesh: release dynamo: read the journal of what is withdrawn: ", 1},
		{nobody + " --etcd-cert x", "", "ETCD_AUTH_CLIENT_CERT and ETCD_AUTH_CLIENT_KEY: one is set without the other", 2},
		{"--only nginx", "", "want", 2},
	} {
		testkit.Eventually(t, 20*time.Second, "a frontend steers", func() bool { return steers.Campaign(t.Context()) == nil })
		code, stdout, stderr := release(tt.args)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("release %s: exit %d\n%s%s\nwant %d, %q and %q", tt.args, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
	}
	r, err := client.Get(t.Context(), key.String())
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value || clientv3.LeaseID(r.Kvs[0].Lease) != lease.ID {
		t.Errorf("put back is %v, %v", r, err)
	}
	if err := steers.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if code, stdout, _ := release("--etcd-endpoints " + server.Endpoint()); code != 0 || stdout != "dynamo: nothing is left\n" {
		t.Errorf("release after that: exit %d\n%s", code, stdout)
	}
}
