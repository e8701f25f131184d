package apiserver

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

// Resource is a kind of objects, and which of them.
type Resource struct {
	Path   string // of the API, with the namespace
	Labels string // a selector; empty: all
}

// Message is one thing that a follower has found.
type Message[O any] struct {
	Kind      int  // the follower's
	All       []*O // of a list
	Listed    bool // All is what there is
	Put       *O
	Removed   string // its name
	Following bool   // it is in touch from now on
	Lost      error  // it is not
}

// Follower keeps up with one resource: it lists all objects, and watches from there on. Where the
// watch breaks it begins another from where it was, and lists anew only where the API server has
// forgotten that.
type Follower[O any] struct {
	Client   *Client
	Resource Resource
	Kind     int // of its messages
	To       chan<- Message[O]
	Log      *logrus.Entry
	Lists    *atomic.Int64 // counts lists; nil: nobody wants to know

	// Decode decodes one object with what it is given, which may be a part of a list.
	Decode func(decode func(any) error) (*O, error)
	Meta   func(*O) Meta

	version     string // of the last change that was handed on; empty: all are to be listed
	retry       time.Duration
	wasListed   bool      // once at least
	absentSince time.Time // since when the server has not known the kind; zero: it does
	saidAbsent  bool
}

// Meta is what a follower has to know of an object.
type Meta struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion"`
}

// Run follows until ctx ends.
func (f *Follower[O]) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if f.isAbsent(ctx, err, time.Now()) {
			_ = timers.Sleep(ctx, timers.Jitter(absentRetry, retryJitter)) // the loop looks at ctx
			continue
		}
		if HasCode(err, http.StatusGone) {
			f.version = ""
		}
		f.send(ctx, Message[O]{Lost: err})
		f.retry = min(max(minRetry, 2*f.retry), maxRetry)
		wait := timers.Jitter(f.retry, retryJitter)
		if refused, ok := errors.AsType[*StatusError](err); ok {
			wait = max(wait, refused.after)
		}
		_ = timers.Sleep(ctx, wait)
	}
}

// session lists what is not known yet, and watches over one connection until that ends.
func (f *Follower[O]) session(ctx context.Context) error {
	rt, closeIdle, err := f.Client.Connect()
	if err != nil {
		return err
	}
	defer closeIdle()
	for {
		if f.version == "" {
			if err := f.list(ctx, rt); err != nil {
				return fmt.Errorf("list %s: %w", f.Resource.Path, err)
			}
		}
		began := time.Now()
		err := f.watch(ctx, rt)
		lasted := time.Since(began) >= steady
		if lasted {
			f.retry = 0
		}
		if HasCode(err, http.StatusGone) && f.retry == 0 {
			f.version, f.retry = "", minRetry // at once, but not over and over
			continue
		}
		if err == nil && !lasted {
			err = errors.New("ended at once")
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", f.Resource.Path, err)
		}
	}
}

// List returns all objects of a resource, as consistent as the API server has them. Of a Follower
// it needs Client, Resource and Decode.
func (f *Follower[O]) List(ctx context.Context, rt http.RoundTripper) (all []*O, version string, err error) {
	next := ""
	for {
		p, err := f.readPage(ctx, rt, next)
		if err != nil {
			return nil, "", err
		}
		all = append(all, p.items...)
		if next = p.metadata.Continue; next == "" {
			return all, p.metadata.ResourceVersion, nil
		}
	}
}

// isAbsent says whether the server knows no such kind, and hands on that there are no objects of
// it. A server that starts may not know it yet.
func (f *Follower[O]) isAbsent(ctx context.Context, err error, now time.Time) bool {
	if !HasCode(err, http.StatusNotFound) {
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
		f.Log.WithField("key", f.Resource.Path).Warn("The API server does not know these objects (is their CRD installed?): there are none until it does")
	}
	f.send(ctx, Message[O]{Listed: true, Following: true})
	return true
}

// list reads all objects, and hands them on.
func (f *Follower[O]) list(ctx context.Context, rt http.RoundTripper) error {
	all, version, err := f.List(ctx, rt)
	if err != nil {
		return err
	}
	f.absentSince, f.saidAbsent, f.wasListed = time.Time{}, false, true
	if f.Lists != nil {
		f.Lists.Add(1)
	}
	f.send(ctx, Message[O]{All: all, Listed: true})
	f.version = version
	return nil
}

func (f *Follower[O]) readPage(ctx context.Context, rt http.RoundTripper, next string) (page[O], error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	query := f.query()
	query.Set("limit", strconv.Itoa(pageSize))
	switch {
	case next != "":
		query.Set("continue", next)
	case f.To != nil && !f.wasListed:
		// From the API server's cache, in one piece and at a fraction of the work. It may be a moment
		// old, which the watch makes up for; later, no list may be older than what is known.
		query.Set("resourceVersion", "0")
	}
	res, err := f.Client.Ask(ctx, rt, Request{Path: f.Resource.Path, Query: query})
	if err != nil {
		return page[O]{}, err
	}
	defer func() { _ = res.Body.Close() }()
	return readPage(io.LimitReader(res.Body, maxPage), f.Decode)
}

func (f *Follower[O]) query() url.Values {
	query := url.Values{}
	if f.Resource.Labels != "" {
		query.Set("labelSelector", f.Resource.Labels)
	}
	return query
}

// watch hands on changes from the last version on. It returns nil when its time is over.
func (f *Follower[O]) watch(ctx context.Context, rt http.RoundTripper) error {
	bounded, cancel := context.WithTimeout(ctx, watchTimeout+headTimeout)
	defer cancel()
	query := f.query()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", f.version)
	query.Set("timeoutSeconds", strconv.Itoa(int(timers.Jitter(watchTimeout, retryJitter).Seconds()*(1-retryJitter))))
	begun := time.AfterFunc(headTimeout, cancel)
	res, err := f.Client.Ask(bounded, rt, Request{Path: f.Resource.Path, Query: query})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if !begun.Stop() {
		return errors.New("no answer")
	}
	f.send(ctx, Message[O]{Following: true})
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
func (f *Follower[O]) handle(ctx context.Context, line []byte) error {
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
		return &StatusError{Code: status.Code, Message: status.Message}
	}
	if event.Type == "BOOKMARK" {
		var o struct {
			Metadata Meta `json:"metadata"`
		}
		if err := json.Unmarshal(event.Object, &o); err != nil {
			return err
		}
		f.version, f.retry = o.Metadata.ResourceVersion, 0
		return nil
	}
	o, err := f.Decode(func(to any) error { return json.Unmarshal(event.Object, to) })
	if err != nil {
		return err
	}
	if event.Type == "DELETED" {
		f.send(ctx, Message[O]{Removed: f.Meta(o).Name})
	} else {
		f.send(ctx, Message[O]{Put: o})
	}
	f.version, f.retry = f.Meta(o).ResourceVersion, 0
	return nil
}

func (f *Follower[O]) send(ctx context.Context, m Message[O]) {
	m.Kind = f.Kind
	select {
	case f.To <- m:
	case <-ctx.Done():
	}
}
