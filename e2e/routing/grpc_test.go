package routing

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	xdsclient "google.golang.org/grpc/xds"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Set, this program is a replica that speaks gRPC at that address, with an etcd at the other.
const (
	replicaAddr = "DYNMESH_ROUTING_REPLICA"
	replicaEtcd = "DYNMESH_ROUTING_ETCD"
)

// spoken is the endpoint of replicas that speak gRPC.
const spoken = "dyn://dynamo.spoken.generate"

// serveReplica is a program of somebody else's that speaks gRPC, and is a member of the mesh.
func serveReplica(addr string) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := func() error {
		endpoint, err := dynmesh.ParseEndpoint(spoken)
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		identity, keys := gossip.NewIdentity(), gossip.NewSharedKeyring()
		r, err := etcd.NewRegistrar(etcd.RegistrarConfig{
			Etcd: etcd.Config{Endpoints: []string{os.Getenv(replicaEtcd)}}, ID: identity.ID(), TTL: time.Minute, Keys: keys.Update,
			Member: dynmesh.MemberInfo{Role: dynmesh.RoleWorker, Host: "127.0.0.1", PID: os.Getpid(), PublicKey: gossip.PublicKey(identity)},
		})
		if err != nil {
			return err
		}
		if err := r.Add(endpoint, dynmesh.HTTPTransport("http://"+addr+"/")); err != nil {
			return err
		}
		pool, err := gossip.NewPool(gossip.Config{
			Identity: identity, Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Service: addr, LeaseTTL: time.Minute, Seeds: r.Seeds, Keyring: keys,
		})
		if err != nil {
			return err
		}
		pool.Observe(dynmesh.Report{Subject: dynmesh.Subject{ID: r.ID()}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Ready: true, At: time.Now()})
		pool.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: r.ID(), Endpoint: endpoint}, Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true, At: time.Now(),
		})
		server := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(server, health.NewServer())
		all, ctx := errgroup.WithContext(ctx)
		all.Go(func() error { return server.Serve(ln) })
		all.Go(func() error { return pool.Run(ctx) })
		all.Go(func() error { return r.Run(ctx) })
		<-ctx.Done()
		server.Stop()
		return all.Wait()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestGRPC: a gRPC client finds its servers at a frontend by xDS, and leaves alone the one that is
// killed or frozen.
func TestGRPC(t *testing.T) {
	if os.Getenv("DYNMESH_E2E") == "" {
		t.Skip("left out: real processes and real faults take 20 s; run make e2e")
	}
	xds := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	f := startFleet(t, "--xds", xds)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w := &worker{f: f, addr: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))}
		w.life = func() *exec.Cmd {
			cmd := exec.Command(program)
			cmd.Env = []string{replicaAddr + "=" + w.addr, replicaEtcd + "=" + f.etcd.Endpoint()}
			return cmd
		}
		f.join(w)
	}
	f.allReady()

	bootstrap := fmt.Sprintf(`{"xds_servers":[{"server_uri":%q,"channel_creds":[{"type":"insecure"}],"server_features":["xds_v3"]}],"node":{"id":"test"}}`, xds)
	resolver, err := xdsclient.NewXDSResolverWithConfigForTesting([]byte(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+spoken, grpc.WithResolvers(resolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := grpc_health_v1.NewHealthClient(conn)
	call := func(options ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as long as HTTP's clients wait
		defer cancel()
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, options...)
		return err
	}
	f.eventually("a call is answered", func() error { return call(grpc.WaitForReady(true)) })

	told := func(state string) func(w *worker) error {
		return func(w *worker) error {
			i, err := f.instance(w)
			if err == nil && (len(i.Outputs) != 1 || i.Outputs[0].State != state) {
				err = fmt.Errorf("clients are told %+v", i.Outputs)
			}
			return err
		}
	}
	for n, broken := range faults()[:2] {
		// Nobody tries again: calls that are under way at one that is killed are lost, and one to one
		// that is frozen ends with its time.
		broken.most = []int{rate / 4, 2 * rate}[n]
		t.Run(broken.name, func(t *testing.T) {
			f.survive(t, f.workers[n], broken, func() error { return call() }, told("out"), told("in"))
		})
	}
}
