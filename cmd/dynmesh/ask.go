package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// askOptions are the settings of commands that ask a frontend.
type askOptions struct {
	cfg client.Config
}

func (o *askOptions) register(flags *pflag.FlagSet) {
	o.cfg.URL = client.DefaultURL
	register(flags, setting{"frontend", "DYN_FRONTEND_URL", &urlValue{stringValue{&o.cfg.URL, client.CheckURL}}, "root URL of the frontend to ask"})
}

func (o *askOptions) client() (*client.Client, error) {
	c, err := client.New(o.cfg)
	return c, named(err)
}

// expectValue takes expectations with commas between them, or the flag again for each.
type expectValue struct{ target *[]expect.Expectation }

func (v *expectValue) String() string {
	if v.target == nil {
		return ""
	}
	var all []string
	for _, e := range *v.target {
		all = append(all, e.String())
	}
	return strings.Join(all, ",")
}
func (v *expectValue) Type() string { return "expectation" }
func (v *expectValue) Set(s string) error {
	parsed, err := expect.Parse(s)
	*v.target = append(*v.target, parsed...)
	return err
}
