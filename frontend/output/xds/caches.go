package xds

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/dynmesh/dynmesh/frontend/output"
)

// caches hold the resources that clients see, those of each kind of client its own, and tell each
// client what is new to it. One goroutine publishes. Clients' requests are answered beside it.
type caches struct {
	clients [2]resources // by kind

	current  map[string]*output.Target
	vanished map[string]time.Time // targets whose assignment is kept, empty
	begun    bool
}

// resources are what clients of a kind see.
type resources struct{ assignments, clusters, routes, listeners *cache.LinearCache }

func newCaches(versions string) *caches {
	c := &caches{current: map[string]*output.Target{}, vanished: map[string]time.Time{}}
	linear := func(kind string) *cache.LinearCache {
		return cache.NewLinearCache(kind, cache.WithVersionPrefix(versions))
	}
	for i := range c.clients {
		c.clients[i] = resources{
			linear(resource.EndpointType), linear(resource.ClusterType), linear(resource.RouteType), linear(resource.ListenerType),
		}
	}
	return c
}

// mux returns what answers a client from the caches that are for it. To ask for another type ends
// the stream.
func (c *caches) mux() cache.Cache {
	key := func(kind string, of client) string { return fmt.Sprint(of, " ", kind) }
	m := &cache.MuxCache{
		Classify:      func(r *cache.Request) string { return key(r.GetTypeUrl(), clientOf(r.GetNode())) },
		ClassifyDelta: func(r *cache.DeltaRequest) string { return key(r.GetTypeUrl(), clientOf(r.GetNode())) },
		Caches:        map[string]cache.Cache{},
	}
	for of, r := range c.clients {
		m.Caches[key(resource.EndpointType, client(of))] = r.assignments
		m.Caches[key(resource.ClusterType, client(of))] = r.clusters
		m.Caches[key(resource.RouteType, client(of))] = r.routes
		m.Caches[key(resource.ListenerType, client(of))] = r.listeners
	}
	return m
}

// difference is what an assignment changes.
type difference struct {
	reported  []*output.Target // that are not the same: maybe only in their reasons
	assigned  []*output.Target // of which clients hear; those that are gone, empty
	forgotten []string         // whose assignment goes at last
	added     []string
	removed   []string
}

// publish replaces what clients see, and returns the targets that are not the same. What is new
// becomes known from the bottom up, assignments before clusters before routes before listeners, and
// what is gone from the top down, so that nothing leads to what is not there.
//
// A target that is gone keeps an empty assignment for a while: a client of the state of the world
// that has its cluster from elsewhere has no other way to learn that nobody is left.
func (c *caches) publish(targets []*output.Target, now time.Time) ([]*output.Target, error) {
	d := c.differences(targets, now)
	var errs []error
	for to, r := range c.clients {
		to := client(to)
		update := func(in *cache.LinearCache, names []string, put func(string) types.Resource, remove []string) {
			if len(names)+len(remove) == 0 {
				return
			}
			all := make(map[string]types.Resource, len(names))
			for _, name := range names {
				all[name] = put(name)
			}
			errs = append(errs, in.UpdateResources(all, remove))
		}
		assignments := make(map[string]types.Resource, len(d.assigned))
		for _, t := range d.assigned {
			assignments[t.Name] = assignment(t, to)
		}
		if len(assignments)+len(d.forgotten) > 0 {
			errs = append(errs, r.assignments.UpdateResources(assignments, d.forgotten))
		}
		update(r.clusters, d.added, func(name string) types.Resource { return cluster(name, to) }, nil)
		switch {
		case to == forGRPC:
			update(r.routes, d.added, func(name string) types.Resource { return grpcRoutes(name) }, nil)
			update(r.listeners, d.added, func(name string) types.Resource { return grpcListener(name) }, d.removed)
			update(r.routes, nil, nil, d.removed)
		case !c.begun || len(d.added)+len(d.removed) > 0:
			names := make([]string, 0, len(c.current))
			for _, t := range targets {
				if c.current[t.Name] != nil {
					names = append(names, t.Name)
				}
			}
			update(r.routes, []string{EnvoyRoutes}, func(string) types.Resource { return envoyRoutes(names) }, nil)
			if !c.begun {
				update(r.listeners, []string{EnvoyListener}, func(string) types.Resource { return envoyListener() }, nil)
			}
		}
		update(r.clusters, nil, nil, d.removed)
	}
	c.begun = true
	if err := errors.Join(errs...); err != nil {
		return d.reported, fmt.Errorf("publish xDS resources: %w", err)
	}
	return d.reported, nil
}

// differences takes in what is current.
func (c *caches) differences(targets []*output.Target, now time.Time) (d difference) {
	next := make(map[string]*output.Target, len(targets))
	for _, t := range targets {
		if !servesHTTP(t) {
			continue
		}
		next[t.Name] = t
		switch before := c.current[t.Name]; {
		case before == nil:
			d.added, d.assigned, d.reported = append(d.added, t.Name), append(d.assigned, t), append(d.reported, t)
			delete(c.vanished, t.Name)
		case before != t:
			d.reported = append(d.reported, t)
			if !slices.EqualFunc(before.Servers, t.Servers, alike) {
				d.assigned = append(d.assigned, t)
			}
		}
	}
	for name := range c.current {
		if next[name] == nil {
			d.removed, d.assigned = append(d.removed, name), append(d.assigned, &output.Target{Name: name})
			c.vanished[name] = now
		}
	}
	for name, since := range c.vanished {
		if now.Sub(since) > keepVanished {
			d.forgotten = append(d.forgotten, name)
			delete(c.vanished, name)
		}
	}
	c.current = next
	return d
}

// alike says whether clients are told the same of two servers.
func alike(a, b output.Server) bool {
	return a.Addr == b.Addr && a.Scheme == b.Scheme && a.State == b.State
}
