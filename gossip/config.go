package gossip

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/aeskey"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Identity is who a member is: a key that it makes when it starts, and the ID that follows from the
// key. It is safe for concurrent use.
type Identity = identity.Identity

// NewIdentity returns a new one. Its ID is a worker's instance ID; its key is to be registered with
// the member, as [PublicKey] writes it, and signs all that the member says.
func NewIdentity() *Identity { return identity.New() }

// PublicKey returns an identity's public key as registries hold it.
func PublicKey(i *Identity) string { return identity.Text(i.Public()) }

// Keyring holds the keys of a pool. It is safe for concurrent use, and its keys may change while a
// pool uses it.
type Keyring = swim.Keyring

// GenerateKey returns a new key: 32 random bytes in base64.
func GenerateKey() string { return aeskey.Generate() }

// NewKeyring returns a keyring of keys in base64, each of 16, 24 or 32 bytes. The first is the one
// that encrypts.
func NewKeyring(keys ...string) (*Keyring, error) { return swim.NewKeyring(keys...) }

// LoadKeyring reads a keyring from a file: one key in base64 on each line, the first is the one
// that encrypts; lines that begin with # do not count. A pool that uses it looks at the file every
// 2 s.
func LoadKeyring(file string) (*Keyring, error) { return swim.LoadKeyring(file) }

// NewSharedKeyring returns a keyring without keys, which a registry keeps for all members: who
// follows it, such as an etcd.Registrar, calls Update. Until it has a key, a pool that uses it
// neither says nor hears anything.
func NewSharedKeyring() *Keyring { return swim.NewSharedKeyring() }

// Unencrypted returns what says that a pool is to do without keys: anybody who reaches the port can
// read what members say, and become one; but nobody speaks for another.
func Unencrypted() *Keyring { return swim.Unencrypted() }

// Config configures a [Pool]. Role must be given; all else has a default.
type Config struct {
	// Identity is who the member is for as long as its process lives: its ID, which is a worker's
	// instance ID, and the key that signs what it says. Default: a new one.
	Identity *Identity

	// Role is what the member does in the mesh.
	Role dynmesh.Role

	// Bind is where the pool listens, host:port, over TCP and UDP (DYN_GOSSIP_BIND). Default:
	// 0.0.0.0:0, which is any free port.
	Bind string

	// Advertise is where others reach it, host or host:port (DYN_GOSSIP_ADVERTISE). Default: the
	// address that Bind names, or where Bind names none, one of the host's; and the bound port.
	Advertise string

	// Join are addresses of members, host:port (DYN_GOSSIP_JOIN). A name may stand for many
	// addresses. None is needed where there are Seeds.
	Join []string

	// Seeds returns addresses of members, host:port, that somebody else keeps, such as etcd. It is
	// asked when the member is alone, and every 30 s. It may fail or be slow: its context ends after 5
	// s. Default: none.
	Seeds func(ctx context.Context) ([]string, error)

	// Label keeps pools apart that reach each other by accident (DYN_GOSSIP_LABEL), 1 to 64 bytes.
	// Default: dynmesh.
	Label string

	// Keyring encrypts and authenticates all that members say to each other. The idle connections
	// by which they see each other die say nothing. Default: a new key, so that nobody else can
	// become a member. Of a worker or a frontend that is registered in etcd: those that etcd keeps.
	Keyring *Keyring

	// Service is host:port of the member's requests. Others connect there, to see whether they can.
	// Empty: none.
	Service string

	// LeaseTTL is how long the member stays registered after it has died; 0 where it is not
	// registered. Others are told.
	LeaseTTL time.Duration

	// Version is the program's; others are told. At most 32 bytes.
	Version string

	// ForeignHealth has a frontend ask the system ports of workers that are no members for /health,
	// too (DYN_FOREIGN_HEALTH): the states of their endpoints. It is for fleets whose canaries are on,
	// since elsewhere each such answer is an ERROR in a Dynamo worker's log.
	ForeignHealth bool

	// ProbeVia is the root of a frontend of Dynamo's, http://HOST:PORT (DYN_PROBE_VIA). A frontend
	// sends canaries through it to workers that are no members, each pinned to its worker: to those
	// that are idle, and to one worker once in 7.5 s at most, whatever the number of frontends.
	// Default: none are sent.
	ProbeVia string

	// Probe says where the member connects when others name the address: members, and registries
	// by WatchForeign. Default: everywhere but where no other host can be.
	Probe address.Policy

	Log *logrus.Entry // nil discards
}

const (
	maxLabel    = 64
	maxLeaseTTL = 24 * time.Hour
)

func (c Config) withDefaults() (Config, error) {
	if c.Identity == nil {
		c.Identity = NewIdentity()
	}
	if c.Role != dynmesh.RoleWorker && c.Role != dynmesh.RoleFrontend {
		return c, dynmesh.NewConfigError("gossip", "Role", string(c.Role),
			fmt.Sprintf("%s or %s", dynmesh.RoleWorker, dynmesh.RoleFrontend))
	}
	c.Bind = cmp.Or(c.Bind, "0.0.0.0:0")
	for _, addr := range c.Join {
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return c, dynmesh.NewConfigError("gossip", "Join", addr, "host:port of each member")
		}
	}
	c.Label = cmp.Or(c.Label, "dynmesh")
	if len(c.Label) > maxLabel {
		return c, dynmesh.NewConfigError("gossip", "Label", c.Label, fmt.Sprintf("at most %d bytes", maxLabel))
	}
	if c.Keyring.Empty() {
		return c, dynmesh.NewConfigError("gossip", "Keyring", nil, "one that a function of package gossip has made")
	}
	if c.Keyring == nil {
		var err error
		if c.Keyring, err = NewKeyring(GenerateKey()); err != nil {
			return c, err // unreachable: it is a key
		}
	}
	if c.Service != "" && !isService(c.Service) {
		return c, dynmesh.NewConfigError("gossip", "Service", c.Service, "host:port")
	}
	if c.LeaseTTL < 0 || c.LeaseTTL > maxLeaseTTL {
		return c, dynmesh.NewConfigError("gossip", "LeaseTTL", c.LeaseTTL, fmt.Sprintf("0 to %v", maxLeaseTTL))
	}
	if c.Version = strings.ToValidUTF8(c.Version, ""); len(c.Version) > maxVersion {
		c.Version = strings.ToValidUTF8(c.Version[:maxVersion], "")
	}
	c.Log = logging.OrDiscard(c.Log).WithFields(logrus.Fields{"component": "gossip", "instance": c.Identity.ID().String()})
	return c, nil
}

// probeVia returns the root of the frontend that canaries go through; nil: none are sent.
func (c Config) probeVia() (*url.URL, error) {
	if c.ProbeVia == "" {
		return nil, nil
	}
	via, err := parse.Root(c.ProbeVia)
	if err != nil {
		return nil, dynmesh.NewConfigError("gossip", "ProbeVia", text.URL(c.ProbeVia), "the root of a frontend of Dynamo's, http://HOST:PORT")
	}
	if c.Role != dynmesh.RoleFrontend {
		return nil, dynmesh.NewConfigError("gossip", "ProbeVia", text.URL(c.ProbeVia), "none on a worker: frontends send canaries")
	}
	return via, nil
}
