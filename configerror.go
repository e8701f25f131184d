package dynmesh

import (
	"fmt"
	"strconv"
	"strings"
)

// ConfigError says which field of a configuration cannot be used. Constructors return it, wrapped
// in what they were about: errors.AsType finds it.
type ConfigError struct {
	Config string // whose field it is: the constructor's package, such as gossip
	Field  string // as a Go program names it, such as RPC.RootPath
	Value  string // as it may be shown, free of secrets; empty where it is missing, secret or told by Err
	Want   string // what is accepted; empty where Err says it
	Err    error  // the cause, where there is one
}

// Error has the form: field RPC.RootPath is "rpc": want a path of …: cause.
func (e *ConfigError) Error() string {
	subject := "field " + e.Field
	if e.Value != "" {
		subject += " is " + e.Value
	}
	return subject + ": " + e.Reason()
}

// Reason is the error without the field and its value: want a path of …: cause. It is for whoever
// knows the value by another name than a Go program's.
func (e *ConfigError) Reason() string {
	switch {
	case e.Want == "" && e.Err == nil:
		return "it cannot be used"
	case e.Want == "":
		return e.Err.Error()
	case e.Err == nil:
		return "want " + e.Want
	}
	return "want " + e.Want + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// maxConfigValue is how much of a text an error repeats, in bytes.
const maxConfigValue = 200

// NewConfigError returns the error of a value that can be shown: a text is quoted, and cut to 200
// bytes. Nil is for what is missing or secret.
func NewConfigError(config, field string, value any, want string) *ConfigError {
	e := &ConfigError{Config: config, Field: field, Want: want}
	switch v := value.(type) {
	case nil:
	case string:
		if len(v) > maxConfigValue {
			v = strings.ToValidUTF8(v[:maxConfigValue], "") + "…"
		}
		e.Value = strconv.Quote(v)
	default:
		e.Value = fmt.Sprint(v)
	}
	return e
}
