package main

import (
	"context"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
)

// notifySystemd tells systemd that the program serves, where systemd has started it and waits for
// that (Type=notify), then that it is registered, and that it stops. registered may be nil.
func notifySystemd(log *logrus.Entry, registered <-chan struct{}) component {
	say := func(state string) {
		// Whoever has NOTIFY_SOCKET set waits for this: nobody else hears of an error.
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.WithField("err", err).Warn("Cannot tell systemd how things stand")
		}
	}
	return component{"systemd", func(ctx context.Context) error {
		say(daemon.SdNotifyReady + "\nSTATUS=Serves")
		select {
		case <-registered:
			say("STATUS=Serves, and is registered")
			<-ctx.Done()
		case <-ctx.Done():
		}
		say(daemon.SdNotifyStopping + "\nSTATUS=Drains")
		return nil
	}}
}
