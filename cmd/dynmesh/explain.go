package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/console"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

func newExplainCommand() *cobra.Command {
	var ask askOptions
	at := ""
	cmd := &cobra.Command{
		Use:   "explain INSTANCE",
		Short: "Say why a frontend believes what it says of one instance",
		Long: `explain asks a frontend for everything that it knows of one instance: its verdict, why, and the evidence from the oldest to
the newest. INSTANCE is an ID in hex or the beginning of one, with or without its endpoint before it; an ID in decimal digits, as in
/health, is understood too. Without an endpoint, everything that the worker serves is explained.

With --at it is explained as it was at that moment, by the history of a frontend whose DYN_HISTORY_DIR names a folder: with the evidence
of its last change before then.

Exit codes: 0 explained; 1 there is no such instance, or more than one, or nobody watched at that moment; 2 the frontend cannot be asked, or a setting cannot be used.`,
		Example: `  dynmesh explain 694d9b90ff8deb4b
  dynmesh explain 694d
  dynmesh explain dyn://dynamo.backend.generate/694d9b90ff8deb4b
  dynmesh explain 694d --at 2026-11-28T03:12Z`,
		Args: oneArgument("an instance: its ID in hex, the beginning of that, or dyn://namespace.component.endpoint/ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := console.ParseTarget(args[0])
			if err != nil {
				return fmt.Errorf("argument %q: %w", text.URL(args[0]), err)
			}
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			m, err := askMesh(cmd.Context(), c, at)
			if err != nil {
				if at != "" && errors.Is(err, client.ErrNotFound) { // nobody watched then, or there is no history
					return runFailure(err)
				}
				return err // exit code 2
			}
			found, err := target.In(m)
			if err != nil {
				return runFailure(err)
			}
			if at != "" {
				for n := range found {
					if err := fillChanges(cmd.Context(), c, &found[n], m.Now); err != nil {
						return err
					}
				}
			}
			style := console.Style{Color: console.WantsColor(cmd.OutOrStdout())}
			var parts []string
			for _, f := range found {
				parts = append(parts, console.Explain(m, f, m.Now, style))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), strings.Join(parts, "\n"))
			return runFailure(err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags, setting{"at", "DYN_EXPLAIN_AT", &stringValue{&at, pastMoment}, "the moment to explain: a time such as 2026-11-28T03:12Z, or how long ago, such as 2h; default: now"})
	return cmd
}

// askMesh asks for how everything stands, or stood.
func askMesh(ctx context.Context, c *client.Client, at string) (*client.Mesh, error) {
	if at == "" {
		return c.Mesh(ctx)
	}
	return c.MeshAt(ctx, at)
}

// fillChanges gives an instance of the past the changes that led there: /mesh of the past has none.
func fillChanges(ctx context.Context, c *client.Client, f *console.Found, at time.Time) error {
	h, err := c.History(ctx, client.Past{Endpoint: f.Endpoint, ID: f.ID, Until: at, Limit: 32})
	if err != nil {
		return err
	}
	for _, t := range h.Transitions {
		var i mesh.Instance
		change := mesh.Change{At: t.At, From: t.From, To: t.To}
		_ = json.Unmarshal(t.Instance, &i) // what cannot be read is not shown
		switch {
		case t.From == t.To: // it is of what is remarked on it
			var texts []string
			for _, r := range i.Remarks {
				texts = append(texts, r.Text)
			}
			change.Reason = strings.Join(texts, "; ")
		case len(i.Reasons) > 0:
			change.Reason = i.Reasons[0]
		}
		f.Changes = append(f.Changes, change)
	}
	return nil
}
