package kubernetes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// Times of a follower. An answer takes the API server milliseconds, or seconds where it has 10,000
// objects to list. The first list comes whole, later ones a page at a time.
const (
	pageSize      = 500
	pageTimeout   = time.Minute
	headTimeout   = 10 * time.Second // until a watch begins
	watchTimeout  = 5 * time.Minute  // the server ends it then, and it is begun anew from where it was
	plainTimeout  = 20 * time.Second // the same over HTTP/1.1, which has no pings
	minRetry      = 50 * time.Millisecond
	maxRetry      = 700 * time.Millisecond // a server that is back is followed within two seconds
	maxRetryAfter = 30 * time.Second
	absentRetry   = 10 * time.Second // a kind that the server does not know yet
	steady        = 5 * time.Second  // a watch that lasts so long is no reason to wait before the next

	// absentBelieved is how long a server may not know what it knew before: it may be starting.
	absentBelieved = 30 * time.Second
	retryJitter    = 0.3
)

// Bounds on what the API server sends. An object has 1.5 MB at most, by etcd's limit.
const (
	maxPage  = 1 << 30
	maxEvent = 16 << 20
)

// resource is a kind of objects, and which of them.
type resource struct {
	kind     kind
	path     string // of the API, with the namespace
	selector string // of labels; empty: all
}

// message is what a follower has found.
type message struct {
	kind      kind
	all       []*object // of a list; nil: see below
	listed    bool
	put       *object
	removed   string // its name
	following bool   // it is in touch from now on
	lost      error  // it is not
}

// follower keeps up with one resource: it lists all objects, and watches from there on. Where the
// watch breaks it begins another from where it was, and lists anew only where the API server has
// forgotten that.
type follower struct {
	client   *client
	resource resource
	to       chan<- message
	lists    *atomic.Int64
	log      *logrus.Entry

	version     string // of the last change that was handed on; empty: all are to be listed
	retry       time.Duration
	wasListed   bool      // once at least
	absentSince time.Time // since when the server has not known the kind; zero: it does
	saidAbsent  bool
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if f.isAbsent(ctx, err, time.Now()) {
			_ = timers.Sleep(ctx, timers.Jitter(absentRetry, retryJitter)) // the loop looks at ctx
			continue
		}
		if hasCode(err, http.StatusGone) {
			f.version = ""
		}
		f.send(ctx, message{kind: f.resource.kind, lost: err})
		f.retry = min(max(minRetry, 2*f.retry), maxRetry)
		wait := timers.Jitter(f.retry, retryJitter)
		if refused, ok := errors.AsType[*statusError](err); ok {
			wait = max(wait, refused.after)
		}
		_ = timers.Sleep(ctx, wait)
	}
}

// session lists what is not known yet, and watches over one connection until that ends.
func (f *follower) session(ctx context.Context) error {
	rt, closeIdle, err := f.client.connect()
	if err != nil {
		return err
	}
	defer closeIdle()
	for {
		if f.version == "" {
			if err := f.list(ctx, rt); err != nil {
				return fmt.Errorf("list %s: %w", f.resource.path, err)
			}
		}
		began := time.Now()
		err := f.watch(ctx, rt)
		lasted := time.Since(began) >= steady
		if lasted {
			f.retry = 0
		}
		if hasCode(err, http.StatusGone) && f.retry == 0 {
			f.version, f.retry = "", minRetry // at once, but not over and over
			continue
		}
		if err == nil && !lasted {
			err = errors.New("ended at once")
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", f.resource.path, err)
		}
	}
}

// isAbsent says whether the server knows no such kind, and hands on that there are no objects of
// it. A server that starts may not know it yet.
func (f *follower) isAbsent(ctx context.Context, err error, now time.Time) bool {
	if !hasCode(err, http.StatusNotFound) {
		f.absentSince = time.Time{}
		return false
	}
	f.version = ""
	if f.absentSince.IsZero() {
		f.absentSince = now
	}
	if f.wasListed && now.Sub(f.absentSince) < absentBelieved {
		return false
	}
	if !f.saidAbsent {
		f.saidAbsent = true
		f.log.WithField("key", f.resource.path).Warn("The API server does not know these objects (is Dynamo's CRD installed?): there are none until it does")
	}
	f.send(ctx, message{kind: f.resource.kind, listed: true, following: true})
	return true
}

// list reads all objects.
func (f *follower) list(ctx context.Context, rt http.RoundTripper) error {
	var all []*object
	next := ""
	for {
		page, err := f.page(ctx, rt, next)
		if err != nil {
			return err
		}
		all = append(all, page.items...)
		if next = page.metadata.Continue; next == "" {
			f.absentSince, f.saidAbsent, f.wasListed = time.Time{}, false, true
			f.lists.Add(1)
			f.send(ctx, message{kind: f.resource.kind, all: all, listed: true})
			f.version = page.metadata.ResourceVersion
			return nil
		}
	}
}

func (f *follower) page(ctx context.Context, rt http.RoundTripper, next string) (listPage, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	query := f.query()
	query.Set("limit", strconv.Itoa(pageSize))
	switch {
	case next != "":
		query.Set("continue", next)
	case !f.wasListed:
		// From the API server's cache, in one piece and at a fraction of the work. It may be a moment
		// old, which the watch makes up for; later, no list may be older than what is known.
		query.Set("resourceVersion", "0")
	}
	res, err := f.client.get(ctx, rt, f.resource.path, query)
	if err != nil {
		return listPage{}, err
	}
	defer func() { _ = res.Body.Close() }()
	p, err := readPage(io.LimitReader(res.Body, maxPage))
	if f.resource.kind == workers {
		for _, o := range p.items {
			if o.fault == "" {
				o.said() // here, and not where all of them wait for the first to count
			}
		}
	}
	return p, err
}

func (f *follower) query() url.Values {
	query := url.Values{}
	if f.resource.selector != "" {
		query.Set("labelSelector", f.resource.selector)
	}
	return query
}

// watch hands on changes from the last version on. It returns nil when its time is over.
func (f *follower) watch(ctx context.Context, rt http.RoundTripper) error {
	bounded, cancel := context.WithTimeout(ctx, watchTimeout+headTimeout)
	defer cancel()
	query := f.query()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", f.version)
	query.Set("timeoutSeconds", strconv.Itoa(int(timers.Jitter(watchTimeout, retryJitter).Seconds()*(1-retryJitter))))
	begun := time.AfterFunc(headTimeout, cancel)
	res, err := f.client.get(bounded, rt, f.resource.path, query)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if !begun.Stop() {
		return errors.New("no answer")
	}
	f.send(ctx, message{kind: f.resource.kind, following: true})
	over := time.AfterFunc(plainTimeout, cancel)
	if res.ProtoMajor >= 2 {
		over.Stop()
	}
	defer over.Stop()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	for lines.Scan() {
		if err := f.handle(ctx, lines.Bytes()); err != nil {
			return err
		}
	}
	if bounded.Err() != nil {
		return ctx.Err()
	}
	return lines.Err()
}

// handle takes in one event of the watch.
func (f *follower) handle(ctx context.Context, line []byte) error {
	var event struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return err
	}
	if event.Type == "ERROR" {
		var status struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(event.Object, &status) // what it says counts where it says something
		return &statusError{code: status.Code, message: status.Message}
	}
	if event.Type == "BOOKMARK" {
		var o struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(event.Object, &o); err != nil {
			return err
		}
		f.version, f.retry = o.Metadata.ResourceVersion, 0
		return nil
	}
	o, err := decodeObject(event.Object)
	if err != nil {
		return err
	}
	if event.Type == "DELETED" {
		f.send(ctx, message{kind: f.resource.kind, removed: o.Metadata.Name})
	} else {
		f.send(ctx, message{kind: f.resource.kind, put: o})
	}
	f.version, f.retry = o.Metadata.ResourceVersion, 0
	return nil
}

func (f *follower) send(ctx context.Context, m message) {
	select {
	case f.to <- m:
	case <-ctx.Done():
	}
}
