package console

import (
	"context"
	"errors"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// Snapshot is what a frontend said at one moment.
type Snapshot struct {
	Frontend string // its URL, without a password
	Mesh     *client.Mesh
	Ready    *expect.Result // what it expects itself; nil: it does not say, being an older one, or see ReadyErr
	ReadyErr error          // why it is not known whether that is there, though the frontend answers
	Asked    time.Time      // when, by our clock
}

// Ask asks for a snapshot. What comes between may change the one answer and not the other (proxies
// like to replace a 503 by a page of their own), so an error is that there is no mesh.
func Ask(ctx context.Context, c *client.Client) (Snapshot, error) {
	s := Snapshot{Frontend: c.String()}
	var err error
	s.Mesh, err = c.Mesh(ctx)
	s.Asked = time.Now()
	if err != nil {
		return s, err
	}
	ready, err := c.Ready(ctx)
	switch {
	case err == nil:
		s.Ready = &ready
	case !errors.Is(err, client.ErrNotFound):
		s.ReadyErr = err
	}
	return s, nil
}

// Now returns the frontend's time at ours.
func (s Snapshot) Now(ours time.Time) time.Time { return s.Mesh.Now.Add(ours.Sub(s.Asked)) }

// AllReady says whether there is nothing to worry about: the registry has been read, every instance
// is registered and ready, and whatever the frontend expects is there.
func (s Snapshot) AllReady() bool {
	if s.Mesh.Discovery.State == dynmesh.Syncing || s.ReadyErr != nil || s.Ready != nil && !s.Ready.Ready {
		return false
	}
	for _, e := range s.Mesh.Endpoints {
		for _, i := range e.Instances {
			if !isHealthy(i) {
				return false
			}
		}
	}
	return true
}

// isHealthy says whether an instance needs nobody's attention.
func isHealthy(i mesh.Instance) bool { return i.Verdict == dynmesh.Ready && i.Registered }
