// Package parse reads the values of settings, as flags and environment variables have them. An
// error says what is accepted, and leaves it to the caller to name the setting.
//
// The command and worker.Serve use it, so that a variable means the same to both.
package parse

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Seconds takes 10, 1.5 or a duration with a unit, above 0. 30d are days, as in [Moment].
func Seconds(s string) (time.Duration, error) {
	d, err := duration(s)
	if seconds, numErr := strconv.ParseFloat(s, 64); numErr == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
		if math.IsNaN(seconds) || seconds > math.MaxInt64/float64(time.Second) {
			err = errors.New("out of range")
		}
	}
	if err != nil || d <= 0 {
		return 0, errors.New("want seconds above 0, such as 10, 1.5 or 10s")
	}
	return d, nil
}

// Timeout takes the same, and 0, which is at once: the least time there is, since none is the
// default.
func Timeout(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n == 0 {
		return time.Nanosecond, nil
	}
	d, err := Seconds(s)
	if err != nil {
		err = errors.New("want seconds, such as 10, 1.5 or 10s, or 0 for at once")
	}
	return d, err
}

// SecondsOrNone takes the same as [Seconds], and 0, which is none.
func SecondsOrNone(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n == 0 {
		return 0, nil
	}
	d, err := Seconds(s)
	if err != nil {
		err = errors.New("want seconds, such as 10, 1.5 or 10s, or 0 for none")
	}
	return d, err
}

// Auto stands for a duration that the program finds by itself.
const Auto = "auto"

// AutoSeconds takes the same as [Seconds], or Auto, which is 0.
func AutoSeconds(s string) (time.Duration, error) {
	if s == Auto {
		return 0, nil
	}
	d, err := Seconds(s)
	if err != nil {
		err = errors.New("want " + Auto + ", or seconds above 0, such as 10, 1.5 or 10s")
	}
	return d, err
}

// WholeSeconds takes the same as [Seconds] in whole ones, least or more.
func WholeSeconds(s string, least time.Duration) (time.Duration, error) {
	d, err := Seconds(s)
	if err == nil && (d%time.Second != 0 || d < least) {
		err = fmt.Errorf("want whole seconds, %.0f or more", least.Seconds())
	}
	return d, err
}

// Port takes 0 (a free port) to 65535.
func Port(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errors.New("want a port, 1 to 65535, or 0 for a free one")
	}
	return int(n), nil
}

// NoPort stands for no port at all, where there need not be any.
const NoPort = -1

// KnownPort takes 1 to 65535, and 0 where it is not known.
func KnownPort(s string) (int, error) {
	n, err := Port(s)
	if err != nil {
		err = errors.New("want a port, 1 to 65535, or 0 if it is not known")
	}
	return n, err
}

// PortOrNone takes the same, and -1 for none, as Dynamo does.
func PortOrNone(s string) (int, error) {
	if s == strconv.Itoa(NoPort) {
		return NoPort, nil
	}
	n, err := Port(s)
	if err != nil {
		err = errors.New("want a port, 1 to 65535, 0 for a free one, or -1 for none")
	}
	return n, err
}

// Host takes a name or an address, which may be in the brackets that it has in a URL.
func Host(s string) string {
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]")
	}
	return s
}

// ServiceLink says where a variable's value comes from that nobody has set: Kubernetes sets some
// for each Service in each container, whose names may be those of settings. Empty: it is another's.
func ServiceLink(variable, value string) string {
	service, isPort := strings.CutSuffix(variable, "_PORT")
	if !isPort || !strings.HasPrefix(value, "tcp://") && !strings.HasPrefix(value, "udp://") {
		return ""
	}
	return fmt.Sprintf("; Kubernetes sets this for a Service called %s: give the pod enableServiceLinks: false, or set %s in it",
		strings.ReplaceAll(strings.ToLower(service), "_", "-"), variable)
}

// Count takes whole numbers from 1 to most.
func Count(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("want a whole number, 1 to %d", most)
	}
	return n, nil
}

// Bool takes the words that Dynamo takes.
func Bool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, errors.New("want true or false (1, yes, on; 0, no, off)")
}

// List takes one or more items with commas between them. Empty ones are passed over.
func List(s string) ([]string, error) {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return nil, errors.New("want one or more items, with commas between them")
	}
	return items, nil
}

// Bounds on labels: their number, and the bytes of a name and of a value, which may be that of a
// node.
const (
	maxLabels     = 32
	maxLabelName  = 63
	maxLabelValue = 253
)

// Labels takes name=value pairs with commas between them; a value may be empty.
func Labels(s string) (map[string]string, error) {
	labels := make(map[string]string)
	for pair := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			return nil, errors.New("want name=value pairs with commas between them, such as zone=a,rack=r3,gpu=H100")
		}
		if other, twice := labels[name]; twice && other != value {
			return nil, fmt.Errorf("want one value for %.63q, in place of %.100q and %.100q", name, other, value)
		}
		labels[name] = value
	}
	return labels, CheckLabels(labels)
}

// CheckLabels says what about labels is not as it should be. They are of the characters that the
// labels of Kubernetes have, and three that addresses have.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("want at most %d labels, in place of %d", maxLabels, len(labels))
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if value := labels[name]; name == "" || len(name) > maxLabelName || len(value) > maxLabelValue || strings.ContainsFunc(name+value, isOdd) {
			return fmt.Errorf("want names of 1 to %d and values of up to %d letters, digits and ._-/:@, in place of %.100q", maxLabelName, maxLabelValue, name+"="+value)
		}
	}
	return nil
}

// isOdd says whether labels have no such character.
func isOdd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/:@", r)
}
