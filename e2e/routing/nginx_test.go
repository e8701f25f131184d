package routing

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// nginxTemplate is a configuration of nginx. DIR and PORT are replaced before dynmesh reads it.
const nginxTemplate = `worker_processes 1;
pid DIR/nginx.pid;
error_log DIR/error.log;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    upstream llm {
{{- range (target "dyn://dynamo.backend.generate").Serving }}
        server {{ .Addr }} weight={{ .Weight }} max_fails=0;
{{- end }}
    }
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://llm;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout non_idempotent;
        }
    }
}
`

// TestNginx: a worker that is killed, frozen, fails or hangs is taken out of a real nginx's
// configuration by dynmesh watch, and comes back. A template that nginx refuses, and a frontend
// that is away, leave the last configuration.
func TestNginx(t *testing.T) {
	path := tool(t, "nginx")
	f := newFleet(t)
	dir := t.TempDir()
	port := testkit.FreePort(t)
	template, config := filepath.Join(dir, "nginx.tmpl"), filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port)).Replace(nginxTemplate)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its workers read what is in this test's folder
	}
	if err := os.WriteFile(template, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := path + " -p " + dir + " -e " + dir + "/error.log"
	args := []string{"watch", "--frontend", f.root, "--template", template, "--out", config, "--check", nginx + ` -t -c "$DYNMESH_FILE"`}
	if out, err := f.command(append(args, "--once")...).CombinedOutput(); err != nil {
		t.Fatalf("watch --once: %v\n%s", err, out)
	}
	testkit.Start(t, "nginx", exec.Command(path, "-p", dir, "-e", dir+"/error.log", "-c", config, "-g", "daemon off;"))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	f.eventually("nginx listens", func() error { // nginx -t would bind its port, and keep it from it
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	watcher := &process{testkit.Start(t, "watch", f.command(append(args, "--exec", nginx+` -s reload -c "$DYNMESH_FILE" && cp "$DYNMESH_FILE" `+dir+"/applied")...))}

	applied := func(w *worker, wanted bool) error {
		b, err := os.ReadFile(dir + "/applied")
		if os.IsNotExist(err) {
			b, err = os.ReadFile(config) // as watch --once left it
		}
		if err == nil && strings.Contains(string(b), "server "+w.addr+" ") != wanted {
			err = fmt.Errorf("got %s", b)
		}
		return err
	}
	out := func(w *worker) error { return applied(w, false) }
	in := func(w *worker) error { return applied(w, true) }
	for n, broken := range faults() {
		t.Run(broken.name, func(t *testing.T) { f.survive(t, f.workers[n%len(f.workers)], broken, post(url), out, in) })
	}

	said := func(words string) func() error {
		return func() error {
			if log := watcher.Log.String(); !strings.Contains(log, words) {
				return fmt.Errorf("it said %s", log)
			}
			return nil
		}
	}
	f.frontend.Kill()
	l := f.begin(post(url))
	f.eventually("it is said that the frontend is away", said("cannot be asked"))
	<-time.After(time.Second)
	f.startFrontend()
	f.eventually("the frontend answers again", said("answers again"))
	if sent, lost := l.end(); len(lost) > 0 {
		t.Errorf("while the frontend was away and began anew, lost %d of %d: %s", len(lost), sent, lost[0])
	}
	for _, w := range f.workers {
		if err := in(w); err != nil {
			t.Errorf("a frontend that begins: %v", err)
		}
	}
	watcher.signal(syscall.SIGTERM)
	<-watcher.Ended()
}
