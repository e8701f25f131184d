package etcd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh/discovery"
)

var (
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

// Status returns what is known of the instances' buckets.
func (w *Watcher) Status() discovery.Status {
	s := w.summary.Load()
	left, total := w.instanceRejects.Counts()
	return discovery.Status{
		State: s.state, Since: s.since, Revision: s.revision, Reads: w.instances.fullReads.Load(), Left: left, Rejected: total,
	}
}

// Describe implements prometheus.Collector.
func (w *Watcher) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRejectedMembers, descRejectedMembersTotal, descRejectedCards, descRejectedCardsTotal,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (w *Watcher) Collect(ch chan<- prometheus.Metric) {
	for _, bucket := range []struct {
		rejects  *discovery.RejectSet
		now, all *prometheus.Desc
	}{
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
