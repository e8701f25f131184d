package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/gossip"
)

func newKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Print a new key for gossip",
		Long: `keygen prints one key, 32 random bytes in base64, that encrypts and authenticates what members say to each other. All
workers and frontends of a mesh get the same: as DYN_GOSSIP_KEY, or in a file that DYN_GOSSIP_KEYRING_FILE names.

The file has one key a line; the first one encrypts, all of them are understood. To change the key without a restart, add the
new one as the last line everywhere; then make it the first line everywhere; then remove the old one. Members read the file
again by themselves within seconds, and at once on SIGHUP.`,
		Example: "  umask 077; dynmesh keygen > /etc/dynmesh/keyring",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), gossip.GenerateKey())
			return runFailure(err)
		},
	}
}
