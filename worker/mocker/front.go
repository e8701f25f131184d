package mocker

import (
	"context"
	"errors"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// front is one listener being served. An http.Server cannot be started again, so each return from refusing makes a new
// one.
type front struct {
	server *http.Server
	cut    context.CancelFunc
	served chan struct{}

	mu       sync.Mutex
	handlers sync.WaitGroup
	over     bool // no handler begins any more
}

func newFront(ctx context.Context, ln net.Listener, routes http.Handler, log *logrus.Entry) *front {
	ctx, cut := context.WithCancel(ctx)
	f := &front{cut: cut, served: make(chan struct{})}
	f.server = &http.Server{
		ErrorLog:          stdlog.New(debugWriter{log}, "", 0),
		Handler:           f.count(routes),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	go func() {
		defer close(f.served)
		if err := f.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.WithField("err", err).WithField("addr", ln.Addr().String()).Error("Mock engine stopped listening")
		}
	}()
	return f
}

// count lets stop wait for the handlers: http.Server.Close does not.
func (f *front) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if f.over {
			f.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		f.handlers.Add(1)
		f.mu.Unlock()
		defer f.handlers.Done()
		next.ServeHTTP(w, r)
	})
}

// stop closes the listener and every connection, and waits for the requests on them.
func (f *front) stop() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.cut()
	_ = f.server.Close() // its error is the listener's, which is gone either way
	<-f.served
	f.handlers.Wait()
}

// debugWriter takes net/http's complaints, which are about clients, into the log.
type debugWriter struct{ log *logrus.Entry }

func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
