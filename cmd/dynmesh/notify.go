package main

import (
	"context"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
)

// notifySystemd is body, beside which systemd is told that the program serves, where systemd has
// started it and waits for that (Type=notify), then that it is registered, and as soon as body is
// told to end, that it drains. registered may be nil.
func notifySystemd(log *logrus.Entry, registered <-chan struct{}, body func(context.Context) error) func(context.Context) error {
	say := func(state string) {
		// Whoever has NOTIFY_SOCKET set waits for this: nobody else hears of an error.
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.WithField("err", err).Warn("Cannot tell systemd how things stand")
		}
	}
	return func(ctx context.Context) error {
		return beside(ctx, "systemd", func(over context.Context) error {
			say(daemon.SdNotifyReady + "\nSTATUS=Serves")
			for registered := registered; ; registered = nil {
				select {
				case <-registered:
					say("STATUS=Serves, and is registered")
					continue
				case <-ctx.Done():
				case <-over.Done(): // body has ended by itself
				}
				say(daemon.SdNotifyStopping + "\nSTATUS=Drains")
				<-over.Done()
				return nil
			}
		}, body)
	}
}
