package canary

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// Config configures a [Monitor]. The zero value has Dynamo's times.
type Config struct {
	// Wait is how long an endpoint must be idle before a canary goes out, ±10 %
	// (DYN_CANARY_WAIT_TIME); default 10 s.
	Wait time.Duration

	// Timeout is how long a canary's whole answer may take (DYN_HEALTH_CHECK_REQUEST_TIMEOUT);
	// default 3 s.
	Timeout time.Duration

	// StartTimeout is Timeout's place for as long as the endpoint has not answered since it was
	// served, or since nobody listened: an engine may load with its first request, and one that is cut
	// off would make it begin anew. Default: Timeout.
	StartTimeout time.Duration

	// FailureThreshold is how many canaries must fail in a row to make an endpoint not ready
	// (DYN_CANARY_FAILURE_THRESHOLD); SuccessThreshold is how many must pass to make it ready
	// again, or for the first time (DYN_CANARY_SUCCESS_THRESHOLD). Default 1.
	FailureThreshold, SuccessThreshold int

	// Stall is how long requests may wait without anything moving before the endpoint is stalled; a
	// canary is asked for a second opinion before. Default: it is learned.
	//
	// The learned budget is five times the longest gap between two steps in the last hour of work:
	// 3 s at least where Activity.Steps moves while a prompt is read, 10 s elsewhere; a minute until
	// ten steps were seen; 2 min while a prompt waits that is larger, by half, than any answered of
	// late. (Where Activity has no sizes and no such steps, any may be: 2 min always.)
	//
	// A budget of one's own must be longer than the longest prefill that moves nothing: a wrong
	// "stalled" takes an engine out of service at its busiest, and pushes the load on to the next.
	Stall time.Duration

	// Recheck is the pause after a failure. It doubles with each further one, up to Wait. Default 1
	// s, or Wait if that is less.
	Recheck time.Duration

	// MaxCanaries is how many may be under way at once, over all endpoints; default 1024. When it
	// is reached others wait.
	MaxCanaries int

	// OnChange is told whenever what is said of an endpoint changes, in order, by one goroutine,
	// while Run runs. It should return soon, since everything waits for it. It may call the
	// Monitor.
	OnChange func(Status)

	Log *logrus.Entry // nil discards
}

// maxDuration catches nanoseconds taken for seconds the other way round; no health check waits a
// day.
const maxDuration = 24 * time.Hour

func (c Config) withDefaults() (Config, error) {
	c.Wait = cmp.Or(c.Wait, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	c.StartTimeout = cmp.Or(c.StartTimeout, c.Timeout)
	c.FailureThreshold = cmp.Or(c.FailureThreshold, 1)
	c.SuccessThreshold = cmp.Or(c.SuccessThreshold, 1)
	c.Recheck = cmp.Or(c.Recheck, min(time.Second, c.Wait))
	c.MaxCanaries = cmp.Or(c.MaxCanaries, 1024)
	for _, d := range []struct {
		field string
		v     time.Duration
	}{{"Wait", c.Wait}, {"Timeout", c.Timeout}, {"StartTimeout", c.StartTimeout}, {"Stall", cmp.Or(c.Stall, time.Minute)}, {"Recheck", c.Recheck}} {
		if d.v < time.Millisecond || d.v > maxDuration {
			return Config{}, dynmesh.NewConfigError("canary", d.field, d.v, fmt.Sprintf("%v to %v", time.Millisecond, maxDuration))
		}
	}
	for _, n := range []struct {
		field string
		v     int
	}{
		{"FailureThreshold", c.FailureThreshold}, {"SuccessThreshold", c.SuccessThreshold}, {"MaxCanaries", c.MaxCanaries},
	} {
		if n.v < 1 || n.v > math.MaxUint16 {
			return Config{}, dynmesh.NewConfigError("canary", n.field, n.v, fmt.Sprintf("1 to %d", math.MaxUint16))
		}
	}
	if c.StartTimeout < c.Timeout {
		return Config{}, dynmesh.NewConfigError("canary", "StartTimeout", c.StartTimeout, fmt.Sprintf("at least Timeout, which is %v", c.Timeout))
	}
	if c.Recheck > c.Wait {
		return Config{}, dynmesh.NewConfigError("canary", "Recheck", c.Recheck, fmt.Sprintf("at most Wait, which is %v", c.Wait))
	}
	c.Log = logging.OrDiscard(c.Log).WithField("component", "canary")
	return c, nil
}

func (c Config) policy() schedule.Policy {
	return schedule.Policy{
		Wait: c.Wait, Timeout: c.Timeout, StartTimeout: c.StartTimeout, Recheck: c.Recheck, Stall: c.Stall,
		FailureThreshold: uint16(c.FailureThreshold), SuccessThreshold: uint16(c.SuccessThreshold), // withDefaults has checked them
	}
}
