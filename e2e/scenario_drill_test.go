package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// drills: a frontend finds what a drill breaks, whose phantoms are nowhere but in /mesh; a drill
// finds out a frontend that does not see.
func drills(t *testing.T, w *world) {
	e := w.startEtcd(1)
	sees := w.startFrontends(e, 2)
	blind := w.startFrontendsAs(e, "blind", 1, map[string]string{"DYN_GOSSIP_BIND": "off"})
	keys := keysOf(w.startWorkers(e, 0, 1, "generate")...)
	await(t, settled, append(sees, blind...), keys)

	var vigils []*vigil
	for _, f := range append(sees, blind...) {
		vigils = append(vigils, w.throughout(f.name()+" lists no phantom", 20*time.Millisecond, func(client *http.Client) error {
			if h, err := f.health(client); err == nil && strings.Contains(string(h.body), dynmesh.DrillNamespace) {
				return fmt.Errorf("got %s", h.body)
			}
			return nil
		}))
	}
	drill := func(name string, of *frontend, more map[string]string) program {
		env := map[string]string{
			"DYN_FRONTEND_URL": "http://" + of.where().reach(httpPort), "DYN_CANARY_WAIT_TIME": "1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "2",
			"ETCD_LEASE_TTL": "60", // outlasts what a busy machine may take
		}
		maps.Copy(env, more)
		return w.launch(spec{place: w.site.reserve(name), binary: dynmeshBinary, etcd: e.addresses(), args: []string{"drill"}, env: env})
	}
	well := drill("drill-well", sees[0], map[string]string{"DYN_DRILL_WITHIN": "60"})
	fails := drill("drill-fails", blind[0], map[string]string{"DYN_DRILL_WITHIN": "4", "DYN_DRILL_KINDS": "killed,frozen,hung,errors"})

	// Both write to etcd: what they put is where no Dynamo looks.
	seen := false
	ended := func(p program, code int, lines ...string) {
		t.Helper()
		eventually(t, 5*time.Minute, p.where().name+" ends", func() error {
			own, err := e.list("v1/dynmesh/instances/" + dynmesh.DrillNamespace + "/")
			seen = seen || len(own) > 0
			if err != nil {
				return err
			}
			for _, prefix := range []string{foreignInstances + dynmesh.DrillNamespace, "v1/mdc/"} {
				kvs, err := e.list(prefix)
				if err != nil {
					return err
				}
				if len(kvs) > 0 {
					t.Fatalf("%s has %v: a phantom is where Dynamo looks", prefix, kvs)
				}
			}
			s, err := p.state()
			if err == nil && s.running {
				err = fmt.Errorf("it is %v", s)
			}
			return err
		})
		s, serr := p.state()
		log, lerr := p.logs()
		if err := errors.Join(serr, lerr); err != nil {
			t.Fatal(err)
		}
		if s.exitCode != code {
			t.Errorf("%s: got exit code %d, want %d", p.where().name, s.exitCode, code)
		}
		if err := lacks(log, lines); err != nil {
			t.Errorf("%s: %v in\n%s", p.where().name, err, log)
		}
	}
	ended(well, 0,
		`^killed +unreachable +[0-9.]+ +unreachable +yes +.*(cannot reach it|declared its worker dead)`, `^frozen +unreachable +[0-9.]+ +unreachable +yes +`,
		`^hung +notready +[0-9.]+ +notready +yes +.*(timeout|stalled|frozen)`, `^errors +notready +[0-9.]+ +notready +yes +.*500`,
		`^wrong +suspect +[0-9.]+ +ready +yes +suspect: answers differ from 2 of 2 peers since .*, first at token 1`)
	ended(fails, 1,
		`^killed +unreachable +[0-9.]+ +ready +no +the verdict is ready`, `^frozen +unreachable +[0-9.]+ +ready +no +the verdict is ready`,
		`^hung +notready +[0-9.]+ +ready +no +the verdict is ready`, `^errors +notready +[0-9.]+ +ready +no +the verdict is ready`, `^dynmesh: not all of it was found$`)
	if !seen {
		t.Error("no phantom was ever seen in etcd: the test looks elsewhere")
	}
	end(t, vigils...)
	await(t, settled, append(sees, blind...), keys)
}
