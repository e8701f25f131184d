// Command bare is a member of a memberlist pool with the library's own LAN settings, and nothing
// else. The scenarios run it beside dynmesh and break both at once: its times are what dynmesh's
// are held against. Each line of its output is a time (RFC 3339), a word (alive, dead) and a
// member's name.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("name", "", "of the member")
	advertise := flag.String("advertise", "", "address that others reach it at; it listens on all")
	port := flag.Int("port", 7946, "of its gossip")
	join := flag.String("join", "", "host:port of a member; empty: it waits for others")
	flag.Parse()

	config := memberlist.DefaultLANConfig()
	config.Name, config.BindPort, config.AdvertisePort = *name, *port, *port
	config.AdvertiseAddr = *advertise
	config.LogOutput = io.Discard
	config.Events = events{}
	list, err := memberlist.Create(config)
	if err != nil {
		return err
	}
	defer func() { _ = list.Shutdown() }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for joined := *join == ""; ; {
		if !joined {
			_, err := list.Join([]string{*join})
			joined = err == nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

type events struct{}

func (events) NotifyJoin(n *memberlist.Node)  { say("alive", n.Name) }
func (events) NotifyLeave(n *memberlist.Node) { say("dead", n.Name) }
func (events) NotifyUpdate(*memberlist.Node)  {}
func say(what, name string)                   { fmt.Println(time.Now().Format(time.RFC3339Nano), what, name) }
