package snapshot

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/internal/text"
)

// jsonTarget is where one process tells its metrics, as Prometheus' http_sd wants it.
type jsonTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

const metaLabel = "__meta_dynmesh_"

// targetChunk is the most processes of a chunk of the scrape targets.
const targetChunk = 256

// targetRenderer renders the scrape targets.
type targetRenderer struct {
	lineage  Lineage
	list     list[instanceKey, struct{}]
	batch    batch[instanceKey, struct{}]
	rendered *Response // nil: it is to be rendered
}

// take renders processes, and says whether the answer is another one now.
func (r *targetRenderer) take(processes []*fleet.Process) (changed bool) {
	for _, p := range processes {
		if target, ok := targetOf(p); ok {
			r.batch.put(instanceKey(p.ID()), struct{}{}, func(dst []byte) []byte { return append(dst, text.JSON(target)...) })
		} else {
			r.batch.remove(instanceKey(p.ID()))
		}
	}
	next, replaced, changed := r.batch.applyTo(r.list, targetChunk, nil)
	if changed {
		r.list, r.rendered = next, nil
		r.lineage.Replace(replaced)
	}
	return changed
}

// render returns the answer: the last one where nothing has changed.
func (r *targetRenderer) render(version uint64, tag string) *Response {
	if r.rendered == nil {
		buffers := append(r.list.appendJSON([][]byte{[]byte("[")}), []byte("]"))
		r.rendered = &Response{Identity: NewRepresentation(&r.lineage, version, tag, buffers...)}
	}
	return r.rendered
}

// targetOf returns where a process tells its metrics; false if it does not say.
func targetOf(p *fleet.Process) (jsonTarget, bool) {
	info := p.Listed()
	if info == nil {
		return jsonTarget{}, false
	}
	at, err := url.Parse(info.SystemURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" {
		return jsonTarget{}, false
	}
	addr := fleet.DialableURL(at)
	if addr == "" {
		return jsonTarget{}, false
	}
	labels := map[string]string{
		metaLabel + "instance_id": p.ID().String(), metaLabel + "role": string(info.Role), metaLabel + "host": info.Host,
		metaLabel + "version": info.Version, metaLabel + "endpoints": endpointsOf(p),
		"__scheme__": at.Scheme, "__metrics_path__": strings.TrimRight(at.Path, "/") + "/metrics",
	}
	// Backward: where two names become one, the first stays.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(info.Labels))) {
		labels[metaLabel+"label_"+labelName(name)] = info.Labels[name]
	}
	for name, value := range labels {
		labels[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return jsonTarget{[]string{addr}, labels}, true
}

// endpointsOf returns the names of the endpoints that are listed for p, with a comma before and
// after each, so that one pattern finds a name wherever it stands; empty if there are none.
func endpointsOf(p *fleet.Process) string {
	var names []string
	for i := range p.Instances() {
		if i.Registered() {
			names = append(names, i.Endpoint().Name())
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
