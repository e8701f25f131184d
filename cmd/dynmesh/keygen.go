package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
)

func newKeygenCommand() *cobra.Command {
	var cfg etcd.Config
	rotate, within := false, time.Minute
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Print a new key for gossip, or replace the one in etcd",
		Long: `keygen prints one key, 32 random bytes in base64, that encrypts and authenticates what members say to each other.

Members that are registered in etcd need none: the first that may puts a random key there (v1/dynmesh/mesh), and all use it.
--rotate replaces that one while they run, in three steps: the new key is made known; once all members understand it, they use it;
once all use it, the old one is dropped. Before each step, all members that are registered must have said that they took the one
before, within --rotate-timeout. If not, or when it is interrupted, nobody is cut off, and running it again goes on. It needs the
right to read and write v1/dynmesh/mesh and to read v1/dynmesh/members/.

A key that is printed is for all workers and frontends of a mesh: as DYN_GOSSIP_KEY, or in a file that DYN_GOSSIP_KEYRING_FILE
names. The file has one key a line; the first one encrypts, all of them are understood. To change that key without a restart, add
the new one as the last line everywhere; then make it the first line everywhere; then remove the old one. Members read the file
again by themselves within seconds, and at once on SIGHUP.`,
		Example: `  dynmesh keygen --rotate                              the key that etcd keeps
  umask 077; dynmesh keygen > /etc/dynmesh/keyring     a key of one's own`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !rotate {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), gossip.GenerateKey())
				return runFailure(err)
			}
			if err := checkEtcd(cfg); err != nil {
				return err
			}
			return runFailure(etcd.RotateKeys(cmd.Context(), cfg, within, func(line string) {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), line)
			}))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"rotate", "DYN_KEYGEN_ROTATE", &boolValue{&rotate}, "print no key: replace the one that etcd keeps for all members"},
		setting{"rotate-timeout", "DYN_KEYGEN_ROTATE_TIMEOUT", &secondsValue{target: &within}, "how long members may take to follow each step"},
	)
	registerEtcd(flags, &cfg)
	return cmd
}
