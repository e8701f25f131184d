package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend/console"
	"github.com/dynmesh/dynmesh/internal/text"
)

func newExplainCommand() *cobra.Command {
	var ask askOptions
	cmd := &cobra.Command{
		Use:   "explain INSTANCE",
		Short: "Say why a frontend believes what it says of one instance",
		Long: `explain asks a frontend for everything that it knows of one instance: its verdict, why, and the evidence from the oldest to
the newest. INSTANCE is an ID in hex or the beginning of one, with or without its endpoint before it; an ID in decimal digits, as in
/health, is understood too. Without an endpoint, everything that the worker serves is explained.

Exit codes: 0 explained; 1 there is no such instance, or more than one; 2 the frontend cannot be asked, or a setting cannot be used.`,
		Example: `  dynmesh explain 694d9b90ff8deb4b
  dynmesh explain 694d
  dynmesh explain dyn://dynamo.backend.generate/694d9b90ff8deb4b`,
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
			mesh, err := c.Mesh(cmd.Context())
			if err != nil {
				return err // exit code 2
			}
			found, err := target.In(mesh)
			if err != nil {
				return runFailure(err)
			}
			style := console.Style{Color: console.WantsColor(cmd.OutOrStdout())}
			var parts []string
			for _, f := range found {
				parts = append(parts, console.Explain(mesh, f, mesh.Now, style))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), strings.Join(parts, "\n"))
			return runFailure(err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	return cmd
}
