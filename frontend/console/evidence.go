package console

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// told says what an observation means. by is who made it, for people.
func told(o mesh.Observation, by string) string {
	text := finding(o, by)
	if o.Ready != nil {
		switch good := o.Finding == "pass" || o.Finding == "busy" || o.Finding == "unchecked"; {
		case *o.Ready && !good:
			text += "; its worker counts it as ready all the same"
		case !*o.Ready && good:
			text += "; its worker does not count it as ready"
		}
	}
	switch {
	case o.Counts:
	case o.Kind == "path":
		text += " (does not count: whoever found it is gone, or it is about an earlier life of the worker)"
	default: // its worker's own word
		text += " (does not count: its worker is gone, or has begun a new life)"
	}
	return text
}

// finding says what was found. A finding stands until its observer says something else, so its time is when it began to be
// so, and how often it was found again is not told. One that does not count stands no more.
func finding(o mesh.Observation, by string) string {
	failed, took := why(o), ""
	have, reached, missed, then := "have ", " has reached it", " has not reached it", " since then"
	if !o.Counts {
		have, reached, missed, then = "", " reached it", " did not reach it", ""
	}
	if o.LatencySeconds > 0 {
		took = "; the first time took " + time.Duration(o.LatencySeconds*float64(time.Second)).Round(10*time.Microsecond).String()
	}
	switch o.Kind + " " + string(o.Finding) {
	case "canary pass":
		return "its own canaries " + have + "passed" + then + took
	case "canary fail", "traffic fail":
		return "its own canaries " + have + "failed" + then + ": " + failed
	case "canary unchecked", "traffic unchecked":
		return "it is served, and nothing has checked it yet"
	case "canary busy", "traffic busy", "traffic pass":
		return "real requests " + have + "moved or completed at it" + then + ", so no canary is due"
	case "canary stalled", "traffic stalled":
		return "requests are in flight at it, and nothing has moved for too long" + after(o.Detail)
	case "path pass":
		return by + reached + " over the network" + then + took
	case "path fail":
		return by + missed + " over the network" + then + ": " + failed
	case "process pass":
		return "its process announced that it is shutting down, and takes no new requests" // what else it says of itself is not shown
	}
	return fmt.Sprintf("%s found by %s: %s", plain.Text(o.Kind, 40), plain.Text(o.Finding, 40), by)
}

// why says the reason in the word by which metrics and logs know it, and then the detail, or else what the word means.
func why(o mesh.Observation) string {
	if o.Reason == "" {
		return "no reason given" + after(o.Detail)
	}
	meaning := o.Detail
	if meaning == "" {
		meaning = map[dynmesh.Reason]string{
			"timeout":     "no answer in time",
			"frozen":      "the answer began, then nothing came",
			"refused":     "nothing listens there",
			"unreachable": "no connection",
			"status":      "an error status",
			"error_chunk": "an error within the answer",
			"empty":       "an empty answer",
			"malformed":   "an answer that makes no sense",
			"oversized":   "an answer without end",
			"cut":         "the connection broke",
		}[o.Reason]
	}
	return plain.Text(o.Reason, 40) + after(meaning)
}

func after(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + plain.Text(detail, maxReason)
}

// changed says what a change of the verdict was. decided is the reason that decides now: it stands above already.
func changed(c mesh.Change, decided string) string {
	from, to := plain.Text(c.From, 20), plain.Text(c.To, 20)
	text := "verdict: " + to
	if from != "" {
		text = "verdict: from " + from + " to " + to
	}
	switch c.Reason {
	case "":
		return text
	case decided:
		return text + ", for the first reason above"
	}
	return text + ", because " + plain.Text(c.Reason, maxReason)
}
