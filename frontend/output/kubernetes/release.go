package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dynmesh/dynmesh/internal/apiserver"
)

// Release undoes what outputs of frontends that are gone have left behind, without an election. did
// is called with a line for each thing; in a dry run nothing is done.
type Release struct {
	client    *apiserver.Client
	namespace string
	dryRun    bool
	did       func(line string)
}

// ErrNoCluster is in NewRelease's error where there is no Kubernetes that could be meant.
var ErrNoCluster = apiserver.ErrNoCluster

// NewRelease reads the configuration of the cluster. It does not connect. Its error is a
// *dynmesh.ConfigError. Of cfg it takes where the cluster is, and the namespace.
func NewRelease(cfg Config, dryRun bool, did func(line string)) (*Release, error) {
	client, namespace, err := apiserver.New(cfg.Kubeconfig, cfg.Namespace)
	return &Release{client, namespace, dryRun, did}, err
}

// is says whether things have been done.
func (r *Release) is() string {
	if r.dryRun {
		return "would be"
	}
	return "is"
}

// Gates writes True on all gates of the namespace that are not.
func (r *Release) Gates(ctx context.Context) error {
	rt, closeIdle, err := r.client.Connect()
	if err != nil {
		return err
	}
	defer closeIdle()
	path := podsPath(r.namespace)
	pods := apiserver.Follower[object]{Client: r.client, Resource: apiserver.Resource{Path: path}, Decode: decodePod}
	all, _, err := pods.List(ctx, rt)
	if err != nil {
		return fmt.Errorf("list pods of %s: %w", r.namespace, err)
	}
	var mu sync.Mutex
	var failed []error
	var writing errgroup.Group
	writing.SetLimit(patchesAtOnce)
	for _, o := range all {
		if !o.pod.Gated || o.pod.Over || o.pod.Gate == gateTrue {
			continue
		}
		writing.Go(func() error {
			var err error
			if !r.dryRun {
				err = r.client.Do(ctx, rt, gateRequest(path, o.pod, gate{gateTrue, "Released", "dynmesh release"}, time.Now()), nil)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case apiserver.HasCode(err, http.StatusNotFound) || apiserver.HasCode(err, http.StatusConflict):
				// It is another pod by now, or none.
			case err != nil:
				failed = append(failed, fmt.Errorf("pod %s/%s: %w", r.namespace, o.Name, err))
			default:
				r.did(fmt.Sprintf("pod %s/%s: %s %s True", r.namespace, o.Name, apiserver.ReadinessGate, r.is()))
			}
			return nil
		})
	}
	_ = writing.Wait() // none returns an error
	return errors.Join(failed...)
}

// Slices removes the EndpointSlices that dynmesh has written: in the namespace, and in those that
// services (see SlicesConfig) name.
func (r *Release) Slices(ctx context.Context, services []string) error {
	namespaces := []string{r.namespace}
	for _, s := range services {
		m, err := parseMapping(s, r.namespace)
		if err != nil {
			return err
		}
		if !slices.Contains(namespaces, m.namespace) {
			namespaces = append(namespaces, m.namespace)
		}
	}
	rt, closeIdle, err := r.client.Connect()
	if err != nil {
		return err
	}
	defer closeIdle()
	var failed []error
	for _, namespace := range namespaces {
		path := slicesPath(namespace)
		own := apiserver.Follower[object]{Client: r.client, Resource: apiserver.Resource{Path: path, Labels: managed}, Decode: decodeSlice}
		all, _, err := own.List(ctx, rt)
		if err != nil {
			failed = append(failed, fmt.Errorf("list EndpointSlices of %s: %w", namespace, err))
		}
		for _, o := range all {
			if !r.dryRun {
				err := r.client.Do(ctx, rt, apiserver.Request{Method: http.MethodDelete, Path: path + "/" + o.Name}, nil)
				if err != nil && !apiserver.HasCode(err, http.StatusNotFound) {
					failed = append(failed, fmt.Errorf("EndpointSlice %s/%s: %w", namespace, o.Name, err))
					continue
				}
			}
			r.did(fmt.Sprintf("EndpointSlice %s/%s of the Service %s %s removed", namespace, o.Name, o.slice.Metadata.Labels[serviceLabel], r.is()))
		}
	}
	return errors.Join(failed...)
}
