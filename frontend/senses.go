package frontend

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// heartbeat is how often the loop turns though nothing happens, so that one that hangs shows.
const heartbeat = 5 * time.Second

// senses tell how long this frontend has been blind. The loop writes, scrapes read. What a registry
// says of itself is beside it: see registryMetrics.
type senses struct {
	began  time.Time
	turned atomic.Int64 // the loop's last turn, since began
	alone  atomic.Int64 // since when nobody is heard, since began; 0: somebody is
}

func newSenses(now time.Time) *senses { return &senses{began: now} }

// observe is told of each turn of the loop, and whether nobody is reached of those who gossip.
func (s *senses) observe(now time.Time, alone bool) {
	at := int64(now.Sub(s.began))
	s.turned.Store(at)
	switch {
	case !alone:
		s.alone.Store(0)
	case s.alone.Load() == 0:
		s.alone.Store(max(at, 1))
	}
}

// blind says for how long nothing has come in; 0: all is well.
func (s *senses) blind(now time.Time) (gossip, loop time.Duration) {
	at := now.Sub(s.began)
	if since := s.alone.Load(); since > 0 {
		gossip = max(0, at-time.Duration(since))
	}
	return gossip, max(0, at-time.Duration(s.turned.Load())-2*heartbeat)
}

var descBlind = prometheus.NewDesc("dynmesh_frontend_blind_seconds",
	"For how long this frontend has heard nobody by gossip though others gossip (gossip), or has worked nothing off (loop); 0 while it does.",
	[]string{"sense"}, nil)

// Describe implements prometheus.Collector.
func (*senses) Describe(ch chan<- *prometheus.Desc) { ch <- descBlind }

// Collect implements prometheus.Collector.
func (s *senses) Collect(ch chan<- prometheus.Metric) {
	gossip, loop := s.blind(time.Now())
	ch <- prometheus.MustNewConstMetric(descBlind, prometheus.GaugeValue, gossip.Seconds(), "gossip")
	ch <- prometheus.MustNewConstMetric(descBlind, prometheus.GaugeValue, loop.Seconds(), "loop")
}
