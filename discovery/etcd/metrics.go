package etcd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

var (
	descState = prometheus.NewDesc("dynmesh_registry_state",
		"Whether the registry is in this state: syncing (never read), synced or stale (cannot be read now).",
		[]string{"state"}, nil)
	descStaleFor = prometheus.NewDesc("dynmesh_registry_stale_seconds",
		"For how long etcd has not been heard; 0 while the registry is synced.", nil, nil)
	descRevision = prometheus.NewDesc("dynmesh_registry_revision",
		"The etcd revision of the last change that was taken in.", nil, nil)
	descFullReads = prometheus.NewDesc("dynmesh_registry_reads_total",
		"How often the whole registry was read: at the start, every few minutes, and after losing touch.", nil, nil)
	descRejected = prometheus.NewDesc("dynmesh_registry_rejected",
		"Entries that are left out now because they are not valid instances.", []string{"reason"}, nil)
	descRejectedTotal = prometheus.NewDesc("dynmesh_registry_rejected_total",
		"Entries that were found not to be valid instances.", []string{"reason"}, nil)
	descRejectedMembers = prometheus.NewDesc("dynmesh_registry_rejected_members",
		"Entries that are left out now because they are not valid members.", []string{"reason"}, nil)
	descRejectedCards = prometheus.NewDesc("dynmesh_registry_rejected_cards",
		"Entries that are left out now because they are not valid model cards.", []string{"reason"}, nil)
	descRejectedCardsTotal = prometheus.NewDesc("dynmesh_registry_rejected_cards_total",
		"Entries that were found not to be valid model cards.", []string{"reason"}, nil)
	descRejectedMembersTotal = prometheus.NewDesc("dynmesh_registry_rejected_members_total",
		"Entries that were found not to be valid members.", []string{"reason"}, nil)

	descLeaseHeld = prometheus.NewDesc("dynmesh_lease_held",
		"1 while the lease is known to live: granted, and renewed within its TTL.", nil, nil)
	descRegistered = prometheus.NewDesc("dynmesh_registered",
		"1 while every key of this process is known to be in etcd.", nil, nil)
	descRenewals = prometheus.NewDesc("dynmesh_lease_renewals_total", "Renewals that etcd confirmed.", nil, nil)
	descGrants   = prometheus.NewDesc("dynmesh_lease_grants_total",
		"Grants that etcd confirmed: all but the first are leases that were lost and taken again.", nil, nil)
	descFailures = prometheus.NewDesc("dynmesh_lease_failures_total",
		"Calls to etcd for the lease and its keys that failed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descState, descStaleFor, descRevision, descFullReads,
		descRejected, descRejectedTotal, descRejectedMembers, descRejectedMembersTotal,
		descRejectedCards, descRejectedCardsTotal,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	s := w.summary.Load()
	for _, state := range []dynmesh.SyncState{dynmesh.Syncing, dynmesh.Synced, dynmesh.Stale} {
		ch <- gauge(descState, boolValue(s.state == state), state.String())
	}
	var stale time.Duration
	if s.state == dynmesh.Stale {
		stale = time.Since(s.since)
	}
	ch <- gauge(descStaleFor, stale.Seconds())
	ch <- gauge(descRevision, float64(s.revision))
	ch <- counter(descFullReads, float64(w.instances.fullReads.Load()))
	for _, bucket := range []struct {
		rejects  *discovery.RejectSet
		now, all *prometheus.Desc
	}{
		{w.instanceRejects, descRejected, descRejectedTotal},
		{w.memberRejects, descRejectedMembers, descRejectedMembersTotal},
		{w.cardRejects, descRejectedCards, descRejectedCardsTotal},
	} {
		left, total := bucket.rejects.Counts()
		for reason, n := range total {
			ch <- gauge(bucket.now, float64(left[reason]), string(reason))
			ch <- counter(bucket.all, float64(n), string(reason))
		}
	}
}

// Describe implements prometheus.Collector.
func (r *Registrar) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLeaseHeld, descRegistered, descRenewals, descGrants, descFailures} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r *Registrar) Collect(ch chan<- prometheus.Metric) {
	s := r.status.Load()
	held := s.granted && time.Now().Before(s.expires)
	ch <- gauge(descLeaseHeld, boolValue(held))
	ch <- gauge(descRegistered, boolValue(held && s.complete)) // keys end with the lease
	ch <- counter(descRenewals, float64(r.renewals.Load()))
	ch <- counter(descGrants, float64(r.grants.Load()))
	ch <- counter(descFailures, float64(r.failures.Load()))
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func counter(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value, labels...)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
