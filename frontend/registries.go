package frontend

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/api"
)

// etcdSource is the name of etcd among the sources.
const etcdSource = "etcd"

// newSources returns all that the configuration has, etcd first.
func newSources(cfg Config) ([]discovery.Named, error) {
	if cfg.NoEtcd {
		return cfg.Sources, nil
	}
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: cfg.Etcd, Members: true, Cards: true, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("frontend config: Etcd: %w", err)
	}
	return append([]discovery.Named{{Name: etcdSource, Source: watcher}}, cfg.Sources...), nil
}

// followAll runs sources until ctx ends, and hands on what they report as one sequence of updates,
// which it closes. failed is called for one that ends by itself.
func followAll(ctx context.Context, sources []discovery.Named, updates chan<- dynmesh.RegistryUpdate, failed func(error)) {
	defer close(updates)
	var names []string
	for _, s := range sources {
		names = append(names, s.Name)
	}
	var mu sync.Mutex // also held while the loop is behind, so that updates keep their order
	union := discovery.NewUnion(time.Now(), names...)
	var following sync.WaitGroup
	defer following.Wait()
	for n, s := range sources {
		following.Go(func() {
			err := s.Source.Run(ctx, func(u dynmesh.RegistryUpdate) {
				mu.Lock()
				defer mu.Unlock()
				updates <- union.Apply(n, u)
			})
			if ctx.Err() == nil {
				failed(fmt.Errorf("follow %s: %w", s.Name, cmp.Or(err, api.ErrEnded)))
			}
		})
	}
}

var (
	descRegistryState = prometheus.NewDesc("dynmesh_registry_state",
		"Whether a registry is in this state: syncing (never read), synced or stale (cannot be read now).",
		[]string{"source", "state"}, nil)
	descRegistryStale = prometheus.NewDesc("dynmesh_registry_stale_seconds",
		"For how long a registry has not been heard; 0 while it is synced.", []string{"source"}, nil)
	descRegistryRevision = prometheus.NewDesc("dynmesh_registry_revision",
		"The registry's revision of the last change that was taken in; 0 where it has no such number.", []string{"source"}, nil)
	descRegistryReads = prometheus.NewDesc("dynmesh_registry_reads_total",
		"How often the whole registry was read: at the start, after losing touch, and where it is read over and over.", []string{"source"}, nil)
	descRejected = prometheus.NewDesc("dynmesh_registry_rejected",
		"Entries that are left out now because they are not valid.", []string{"source", "reason"}, nil)
	descRejectedTotal = prometheus.NewDesc("dynmesh_registry_rejected_total",
		"Entries that were found not to be valid.", []string{"source", "reason"}, nil)
)

// registryMetrics shows what sources know of their registries, where they tell.
type registryMetrics []discovery.Named

// Describe implements prometheus.Collector.
func (registryMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRegistryState, descRegistryStale, descRegistryRevision, descRegistryReads, descRejected, descRejectedTotal,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m registryMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, named := range m {
		source, ok := named.Source.(interface{ Status() discovery.Status })
		if !ok {
			continue
		}
		s := source.Status()
		metric := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{named.Name}, labels...)...)
		}
		for _, state := range []dynmesh.SyncState{dynmesh.Syncing, dynmesh.Synced, dynmesh.Stale} {
			value := 0.0
			if s.State == state {
				value = 1
			}
			metric(descRegistryState, prometheus.GaugeValue, value, state.String())
		}
		var stale time.Duration
		if s.State == dynmesh.Stale {
			stale = time.Since(s.Since)
		}
		metric(descRegistryStale, prometheus.GaugeValue, stale.Seconds())
		metric(descRegistryRevision, prometheus.GaugeValue, float64(s.Revision))
		metric(descRegistryReads, prometheus.CounterValue, float64(s.Reads))
		for reason, n := range s.Rejected {
			metric(descRejected, prometheus.GaugeValue, float64(s.Left[reason]), string(reason))
			metric(descRejectedTotal, prometheus.CounterValue, float64(n), string(reason))
		}
	}
}
