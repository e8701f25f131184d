package frontend

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh"
)

const targetsPath = "/sd/prometheus"

// jsonTarget is where one process tells its metrics, as Prometheus' http_sd wants it.
type jsonTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

const metaLabel = "__meta_dynmesh_"

// retarget marks a process: how it is shown to Prometheus may have changed.
func (m *mesh) retarget(w *worker) {
	if !w.retarget {
		w.retarget = true
		m.retargets = append(m.retargets, w)
	}
}

// settleTargets renders the processes that were marked.
func (m *mesh) settleTargets() (changed bool) {
	for _, w := range m.retargets {
		w.retarget = false
		json, ok := w.target()
		c := change{record: &record{endpoint: m.targets.endpoint, id: w.id}, gone: true}
		if ok {
			c = change{record: newRecord(m.targets.endpoint, w.id, encoded(json))}
		}
		m.targets.changes = append(m.targets.changes, c)
	}
	m.retargets = forget(m.retargets)
	return m.targets.splice(chunkSize)
}

// target returns where a process tells its metrics; false if it does not say.
func (w *worker) target() (jsonTarget, bool) {
	if w.info == nil {
		return jsonTarget{}, false
	}
	at, err := url.Parse(w.info.SystemURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" {
		return jsonTarget{}, false
	}
	addr := dialableURL(at)
	if addr == "" {
		return jsonTarget{}, false
	}
	labels := map[string]string{
		metaLabel + "instance_id": w.id.String(), metaLabel + "role": string(w.info.Role), metaLabel + "host": w.info.Host,
		metaLabel + "version": w.info.Version, metaLabel + "endpoints": w.served(),
		"__scheme__": at.Scheme, "__metrics_path__": strings.TrimRight(at.Path, "/") + metricsPath,
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(w.info.Labels))) { // where two become one, the first stays
		labels[metaLabel+"label_"+labelName(name)] = w.info.Labels[name]
	}
	for name, value := range labels {
		labels[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return jsonTarget{[]string{addr}, labels}, true
}

// served returns the names of the endpoints that etcd lists for w, with a comma before and after each, so that one pattern
// finds a name wherever it stands; empty if there are none.
func (w *worker) served() string {
	var names []string
	for _, i := range w.instances {
		if i.registered {
			names = append(names, i.group.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "," + strings.Join(names, ",") + ","
}

// labelName makes of s what Prometheus takes as the end of a label's name.
func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, s)
}

// renderTargets makes the answer of what settleTargets has found; the last one if nothing has changed.
func (m *mesh) renderTargets(version, serial uint64) *body {
	if m.targetsBody != nil && slices.Equal(m.targetsShown, m.targets.chunks) {
		return m.targetsBody
	}
	segments := append(appendRecords([][]byte{[]byte("[")}, m.targets.chunks), []byte("]"))
	m.targetsBody, m.targetsShown = newBody(segments, fmt.Sprintf(`"%s-%d"`, m.epoch, version)), m.targets.chunks
	m.targetsBody.serial = serial
	return m.targetsBody
}

// showTargets answers /sd/prometheus. A list that is empty because etcd was not read yet would have Prometheus drop all that
// it scrapes.
func (f *Frontend) showTargets(c *fiber.Ctx) error {
	if f.stopping.Load() {
		return shuttingDown(c)
	}
	p := f.registry.page.Load()
	switch {
	case p.view.ready.state == dynmesh.Syncing:
		return problem(c, p, fiber.StatusServiceUnavailable, "the registry in etcd has not been read yet")
	case !p.view.met: // they are read apart from the instances, and may be later
		return problem(c, p, fiber.StatusServiceUnavailable, "what processes tell etcd of themselves has not been read yet")
	}
	return answerWith(c, p, p.view.targets, nil)
}
