package gossip

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// keyfileInterval is how often the keyring's file is read. It is small, and its directory may be one whose changes no
// notification tells of.
const keyfileInterval = 2 * time.Second

// follow installs what the file says until ctx ends. A file that cannot be used is logged once.
func (k *Keyring) follow(ctx context.Context, log *logrus.Entry) {
	if k.file == "" {
		return
	}
	var last string
	for sleep(ctx, keyfileInterval) {
		changed, err := k.reload()
		switch {
		case err != nil && err.Error() != last:
			last = err.Error()
			log.WithField("err", err).Error("Cannot use the keyring's file: going on with the keys that were there")
		case err == nil:
			last = ""
		}
		if changed {
			log.WithField("keys", len(k.ring.GetKeys())).Info("Keys changed")
		}
	}
}
