package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// images are what containers are made from.
type images struct {
	etcd, dynmesh, bare string
	about               string // where etcd is from
}

func (i images) holds(tags []string) bool {
	return slices.Contains(tags, i.etcd) || slices.Contains(tags, i.dynmesh) || slices.Contains(tags, i.bare)
}

func (i images) of(b binary) (image, executable string) {
	switch b {
	case etcdBinary:
		return i.etcd, "/usr/local/bin/etcd" // as in etcd's official images
	case bareBinary:
		return i.bare, "/usr/local/bin/bare"
	default:
		return i.dynmesh, "/usr/local/bin/dynmesh"
	}
}

// prepare makes the images, or takes those that are there already. etcdImage is used as it is, when
// given.
func (e *dockerEngine) prepare(t *testing.T, b binaries, etcdImage string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	e.files = b
	var err error
	if e.images.dynmesh, err = e.imageFromScratch(ctx, "dynmesh", b.dynmesh); err != nil {
		t.Fatalf("image of dynmesh: %v", err)
	}
	if e.images.bare, err = e.imageFromScratch(ctx, "bare", b.bare); err != nil {
		t.Fatalf("image of bare memberlist: %v", err)
	}
	if etcdImage != "" {
		e.images.etcd, e.images.about = etcdImage, "etcd from image "+etcdImage
		if err := e.ensurePulled(ctx, etcdImage); err != nil {
			t.Fatalf("DYNMESH_E2E_ETCD_IMAGE %s: %v", etcdImage, err)
		}
		return
	}
	e.images.about = "etcd compiled from go.mod's version"
	if e.images.etcd, err = e.imageFromScratch(ctx, "etcd", b.etcd); err != nil {
		t.Fatalf("image of etcd: %v", err)
	}
}

func (e *dockerEngine) ensurePulled(ctx context.Context, image string) error {
	if _, err := e.api.ImageInspect(ctx, image); err == nil || !isNotFound(err) {
		return err
	}
	answer, err := e.api.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return answer.Wait(ctx)
}

// imageFromScratch returns the name of an image that holds one static binary and an empty /tmp. The
// name has the binary's hash, so an image is built once for each content.
func (e *dockerEngine) imageFromScratch(ctx context.Context, name, path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	tag := "dynmesh-e2e/" + name + ":" + hex.EncodeToString(sum[:8])
	if _, err := e.api.ImageInspect(ctx, tag); err == nil || !isNotFound(err) {
		return tag, err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	dockerfile := fmt.Sprintf("FROM scratch\nCOPY tmp /tmp\nCOPY %s /usr/local/bin/%s\n", name, name)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}),
		writeFile(w, "Dockerfile", 0o644, []byte(dockerfile)),
		writeFile(w, name, 0o755, content),
		w.Close(),
	)
	if err != nil {
		return "", err
	}
	answer, err := e.api.ImageBuild(ctx, &archive, client.ImageBuildOptions{
		Tags: []string{tag}, Labels: e.labels(), Remove: true, ForceRemove: true,
	})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	return tag, buildError(answer.Body)
}

func writeFile(w *tar.Writer, name string, mode int64, content []byte) error {
	// No times: the engine's build cache goes by them.
	err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))})
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// buildError reads the engine's messages to their end, which is when the image is there, and
// returns the error among them: the request itself succeeds whatever the build does.
func buildError(messages io.Reader) error {
	decoder := json.NewDecoder(messages)
	for {
		var message struct {
			Error string `json:"error"`
		}
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }
func isConflict(err error) bool { return errdefs.IsConflict(err) }
