package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

const (
	// Everything made here carries this label, with the run's name as its value. Nothing without it is
	// ever touched.
	runLabel = "dynmesh.e2e"
	// bornLabel is when it was made, in Unix seconds.
	bornLabel = "dynmesh.e2e.born"
	// leftover is the age from which something of another run is taken to have been left behind by it.
	leftover = time.Hour
)

// dockerEngine runs programs as containers.
type dockerEngine struct {
	api    *client.Client
	about  string
	run    string // names this run in labels and names
	images images
	files  binaries // what the images were made of
}

// dialDocker returns an engine without images yet, or why there is none.
func dialDocker(t *testing.T) (*dockerEngine, error) {
	api, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	e := &dockerEngine{
		api:   api,
		run:   strconv.FormatInt(time.Now().UnixNano(), 36),
		about: fmt.Sprintf("containers by docker engine %s (API %s)", version.Version, version.APIVersion),
	}
	t.Cleanup(func() {
		// Its tests have cleaned up after themselves; this is for one that could not.
		if err := e.sweep(func(run string, _ time.Duration) bool { return run == e.run }); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if err := api.Close(); err != nil {
			t.Errorf("close docker client: %v", err)
		}
	})
	return e, nil
}

func (e *dockerEngine) String() string { return e.about + ", " + e.images.about }

func (e *dockerEngine) file(of binary) string { return e.files.path(of) }

func (e *dockerEngine) labels() map[string]string {
	return map[string]string{runLabel: e.run, bornLabel: strconv.FormatInt(time.Now().Unix(), 10)}
}

// sweepLeftovers removes what interrupted runs left behind.
func (e *dockerEngine) sweepLeftovers() error {
	return e.sweep(func(run string, age time.Duration) bool { return run != e.run && age > leftover })
}

// sweep removes containers, networks and images of dynmesh's e2e tests that the condition holds
// for. Images carry no run: they are kept for the next one, until they are old.
func (e *dockerEngine) sweep(condition func(run string, age time.Duration) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ours := client.Filters{}.Add("label", runLabel)
	remove := func(labels map[string]string) bool {
		born, err := strconv.ParseInt(labels[bornLabel], 10, 64)
		return err == nil && condition(labels[runLabel], time.Since(time.Unix(born, 0)))
	}
	var errs []error
	containers, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	errs = append(errs, err)
	for _, c := range containers.Items {
		if remove(c.Labels) {
			errs = append(errs, e.removeContainer(ctx, c.ID))
		}
	}
	networks, err := e.api.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	errs = append(errs, err)
	for _, n := range networks.Items {
		if remove(n.Labels) {
			errs = append(errs, e.removeNetwork(ctx, n.ID))
		}
	}
	stored, err := e.api.ImageList(ctx, client.ImageListOptions{Filters: ours})
	errs = append(errs, err)
	for _, i := range stored.Items {
		if remove(i.Labels) && !e.images.holds(i.RepoTags) {
			// Without force: an image that another run uses stays.
			if _, err := e.api.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{}); err != nil && !isConflict(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (e *dockerEngine) removeContainer(ctx context.Context, id string) error {
	_, err := e.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if isNotFound(err) {
		return nil
	}
	return err
}

// containerName is unique on the engine, and says to a person what it is.
func (e *dockerEngine) containerName(t *testing.T, parts ...string) string {
	test := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]))
	return strings.Join(append([]string{"dynmesh-e2e", e.run, test[:min(len(test), 24)]}, parts...), ".")
}
