package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/internal/text"
)

// envAnnotation holds the name of a flag's variable.
const envAnnotation = "dynmesh_env"

// setting declares one flag with its variable.
type setting struct {
	flag  string
	env   string
	value pflag.Value // holds the default already
	usage string
}

// register adds settings to a command's flags. Help shows both names.
func register(flags *pflag.FlagSet, settings ...setting) {
	for _, s := range settings {
		f := flags.VarPF(s.value, s.flag, "", s.usage+" ["+s.env+"]")
		f.Annotations = map[string][]string{envAnnotation: {s.env}}
		if _, ok := s.value.(*boolValue); ok {
			f.NoOptDefVal = "true"
		}
	}
}

// readEnvironment gives flags that are not set the value of their variable. An empty variable counts as not set:
// manifests have many of those.
func readEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		env := f.Annotations[envAnnotation]
		if f.Changed || len(env) == 0 || failed != nil {
			return
		}
		value := os.Getenv(env[0])
		if value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = fmt.Errorf("%s=%q: %w", env[0], shown(f.Value, value), err)
		}
	})
	return failed
}

// flagError words an error of the command line as readEnvironment does one of the environment: secrets are not repeated.
func flagError(cmd *cobra.Command, err error) error {
	if _, unknown := errors.AsType[*pflag.NotExistError](err); unknown {
		return fmt.Errorf("%w: %s --help lists those that there are", err, cmd.CommandPath())
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name := "--" + invalid.GetFlag().Name
		if short := invalid.GetFlag().Shorthand; short != "" {
			name = "-" + short + ", " + name
		}
		return fmt.Errorf("invalid argument %q for %q flag: %w", shown(invalid.GetFlag().Value, invalid.GetValue()), name, invalid.Unwrap())
	}
	return err
}

// maxShown is how much of a value an error repeats, in bytes.
const maxShown = 200

// shown returns a value as an error may repeat it.
func shown(of pflag.Value, value string) string {
	switch of.(type) {
	case *secretValue:
		return "…"
	case *urlValue, *urlListValue:
		return text.URL(value)
	}
	return text.Line(value, maxShown)
}

// namedBy puts the variable's name before an error that names the field of a Config, which is what packages know.
func namedBy(err error, variables ...map[string]string) error {
	if err == nil {
		return nil
	}
	for _, some := range variables {
		for field, variable := range some {
			if strings.Contains(err.Error(), field) {
				return fmt.Errorf("%s: %w%s", variable, err, advice(err))
			}
		}
	}
	return err
}

// advice says what to do about an address that cannot be listened on, where the error is Go's own and does not.
func advice(err error) string {
	failed, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || failed.Op != "listen":
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return "; stop the other program or choose another port (0: any free one)"
	case errors.Is(err, syscall.EACCES):
		return "; choose a port from 1024 on, or grant the right to bind lower ones"
	}
	return "; choose an address that this machine has (0.0.0.0: all of them)"
}
