package drill

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/dynmesh/dynmesh/frontend/plain"
)

// maxReason is the most characters of a reason that a table shows.
const maxReason = 400

// Table is results for people, a line each.
func Table(all []Result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	put := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // a Builder takes anything
	put("KIND", "WANTED", "SECONDS", "VERDICT", "OK", "REASON")
	for _, r := range all {
		ok, reason := "yes", r.Reason
		if !r.Found() {
			ok, reason = "no", r.Problem
			if r.Reason != "" && !strings.Contains(r.Problem, r.Reason) {
				reason += "; its reason: " + r.Reason
			}
		}
		verdict := string(r.Verdict)
		if verdict == "" {
			verdict = "none"
		}
		put(string(r.Kind), r.Wants, fmt.Sprintf("%.2f", r.Took.Seconds()), plain.Text(verdict, 20), ok, plain.Text(reason, maxReason))
	}
	_ = w.Flush()
	return b.String()
}
