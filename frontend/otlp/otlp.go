package otlp

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The names of events.
const (
	EventName      = "dynmesh.verdict.changed"
	CauseEventName = "dynmesh.cause.changed"
)

type (
	request struct {
		ResourceLogs []resourceLogs `json:"resourceLogs"`
	}
	resourceLogs struct {
		Resource  resource    `json:"resource"`
		ScopeLogs []scopeLogs `json:"scopeLogs"`
	}
	resource struct {
		Attributes []attribute `json:"attributes"`
	}
	scopeLogs struct {
		Scope      scope    `json:"scope"`
		LogRecords []record `json:"logRecords"`
	}
	scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	record struct {
		TimeUnixNano         string      `json:"timeUnixNano"` // 64 bits are strings in the JSON of protobufs
		ObservedTimeUnixNano string      `json:"observedTimeUnixNano"`
		SeverityNumber       int         `json:"severityNumber"`
		SeverityText         string      `json:"severityText"`
		EventName            string      `json:"eventName"`
		Body                 value       `json:"body"`
		Attributes           []attribute `json:"attributes"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		StringValue *string `json:"stringValue,omitempty"`
		BoolValue   *bool   `json:"boolValue,omitempty"`
	}
)

// OpenTelemetry's severities.
const (
	info = 9
	warn = 13
)

// Append appends changes as one request, with a line end. version is the program's.
func Append(b []byte, version string, all []mesh.Transition) []byte {
	records := make([]record, len(all))
	for i, t := range all {
		records[i] = recordOf(t)
	}
	r := request{[]resourceLogs{{
		resource{[]attribute{of("service.name", "dynmesh"), of("service.version", version)}},
		[]scopeLogs{{scope{"github.com/dynmesh/dynmesh", version}, records}},
	}}}
	return append(append(b, text.JSON(r)...), '\n')
}

func of(key, s string) attribute { return attribute{key, value{StringValue: &s}} }

// recordOf makes an event of a change.
func recordOf(t mesh.Transition) record {
	if t.Cause != nil {
		return causeOf(t)
	}
	var i mesh.Instance
	if t.To != "" {
		_ = json.Unmarshal(t.Instance, &i) // a newer frontend may send what is not known here: the rest is something
	}
	r := record{
		TimeUnixNano: strconv.FormatInt(t.At.UnixNano(), 10), SeverityNumber: info, SeverityText: "INFO", EventName: EventName,
		Attributes: []attribute{of("dynmesh.endpoint", t.Endpoint), of("dynmesh.instance.id", t.ID.String()), of("dynmesh.verdict.from", string(t.From)), of("dynmesh.verdict", string(t.To))},
	}
	r.ObservedTimeUnixNano = r.TimeUnixNano
	if t.To == dynmesh.Unreachable || t.To == dynmesh.NotReady {
		r.SeverityNumber, r.SeverityText = warn, "WARN"
	}
	said := "the instance is no longer known"
	if t.To != "" {
		said = "the instance is " + string(t.To) // where no reason is known
	}
	if len(i.Reasons) > 0 {
		said = i.Reasons[0]
		r.Attributes = append(r.Attributes, of("dynmesh.reasons", strings.Join(i.Reasons, "; ")), attribute{"dynmesh.verified", value{BoolValue: &i.Verified}})
	}
	if w := i.Worker; w != nil {
		for _, a := range []attribute{of("host.name", w.Host), of("dynmesh.worker.version", w.Version)} {
			if *a.Value.StringValue != "" {
				r.Attributes = append(r.Attributes, a)
			}
		}
	}
	if i.Pod != nil {
		r.Attributes = append(r.Attributes, of("k8s.pod.name", i.Pod.Name), of("k8s.node.name", i.Pod.Node))
	}
	for _, o := range i.Observations {
		r.Attributes = append(r.Attributes, of("dynmesh.observation."+o.Kind+"."+o.Observer, observation(o)))
	}
	r.Body = value{StringValue: &said}
	return r
}

// causeOf makes an event of a cause that was named, or has ended.
func causeOf(t mesh.Transition) record {
	var c mesh.Cause
	_ = json.Unmarshal(t.Cause, &c) // as of an instance
	at, named := strconv.FormatInt(t.At.UnixNano(), 10), t.To != ""
	r := record{
		TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: info, SeverityText: "INFO", EventName: CauseEventName, Body: value{StringValue: &c.Line},
		Attributes: []attribute{of("dynmesh.cause", c.Name), {"dynmesh.cause.named", value{BoolValue: &named}}},
	}
	if named {
		r.SeverityNumber, r.SeverityText = warn, "WARN"
	}
	return r
}

// observation is an observation in one line.
func observation(o mesh.Observation) string {
	words := []string{string(o.Finding)}
	if o.Reason != "" {
		words = append(words, string(o.Reason))
	}
	if o.Detail != "" {
		words = append(words, o.Detail)
	}
	return strings.Join(words, ": ") + " at " + o.At.UTC().Format(time.RFC3339Nano)
}
