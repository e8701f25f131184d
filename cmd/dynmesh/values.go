package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The types below are the kinds of settings. Each Set either takes a value or says what is
// accepted.

// stringValue takes what check accepts.
type stringValue struct {
	target *string
	check  func(string) error // nil: anything
}

func (v *stringValue) String() string { return deref(v.target) }
func (v *stringValue) Type() string   { return "string" }
func (v *stringValue) Set(s string) error {
	if v.check != nil {
		if err := v.check(s); err != nil {
			return err
		}
	}
	*v.target = s
	return nil
}

// urlValue takes a URL that check accepts. It may hold a password, which is not shown.
type urlValue struct{ stringValue }

func (v *urlValue) String() string { return text.URL(v.stringValue.String()) }
func (v *urlValue) Type() string   { return "url" }

// secretValue takes anything, and is never shown.
type secretValue struct{ stringValue }

func (*secretValue) String() string { return "" }

// secondsKind is what of durations a setting takes.
type secondsKind uint8

// The kinds.
const (
	aboveZero    secondsKind = iota // see parse.Seconds
	orAtOnce                        // and 0: see parse.Timeout
	orNone                          // and 0: see parse.SecondsOrNone
	orAuto                          // and parse.Auto, which is 0
	wholeSeconds                    // without parts of one, 2 or more: see parse.WholeSeconds
)

// secondsValue takes 10, 1.5 or a duration with a unit.
type secondsValue struct {
	target *time.Duration
	kind   secondsKind
}

func (v *secondsValue) String() string {
	switch {
	case v.target == nil:
		return ""
	case v.kind == orAuto && *v.target == 0:
		return parse.Auto
	case v.kind == orAtOnce && *v.target == time.Nanosecond, v.kind == orNone && *v.target == 0: // see parse.Timeout
		return "0"
	}
	return text.Duration(*v.target)
}
func (v *secondsValue) Type() string { return "seconds" }
func (v *secondsValue) Set(s string) error {
	d, err := v.kind.parse(s)
	if err == nil {
		*v.target = d
	}
	return err
}

func (k secondsKind) parse(s string) (time.Duration, error) {
	switch k {
	case orAtOnce:
		return parse.Timeout(s)
	case orNone:
		return parse.SecondsOrNone(s)
	case orAuto:
		return parse.AutoSeconds(s)
	case wholeSeconds:
		return parse.WholeSeconds(s, 2*time.Second)
	}
	return parse.Seconds(s)
}

// portValue takes 0 (a free port) to 65535, and where none is possible, -1.
type portValue struct {
	target *int
	none   bool
	known  bool // it is another's: 0 is not known
}

func (v *portValue) String() string {
	if v.target == nil {
		return ""
	}
	return strconv.Itoa(*v.target)
}
func (v *portValue) Type() string { return "port" }
func (v *portValue) Set(s string) error {
	read := parse.Port
	switch {
	case v.none:
		read = parse.PortOrNone
	case v.known:
		read = parse.KnownPort
	}
	n, err := read(s)
	if err == nil {
		*v.target = n
	}
	return err
}

// countValue takes whole numbers from 1 to most.
type countValue struct {
	target *int
	most   int
}

func (v *countValue) String() string {
	if v.target == nil {
		return ""
	}
	return strconv.Itoa(*v.target)
}
func (v *countValue) Type() string { return "count" }
func (v *countValue) Set(s string) error {
	n, err := parse.Count(s, v.most)
	if err == nil {
		*v.target = n
	}
	return err
}

// boolValue takes the words that Dynamo takes.
type boolValue struct{ target *bool }

func (v *boolValue) String() string { return strconv.FormatBool(v.target != nil && *v.target) }
func (v *boolValue) Type() string   { return "bool" }
func (v *boolValue) Set(s string) error {
	yes, err := parse.Bool(s)
	if err == nil {
		*v.target = yes
	}
	return err
}

// listValue takes a list with commas, or the flag again for each item.
type listValue struct {
	target *[]string
	check  func(string) error // of one item; nil: anything
	once   bool               // no item twice
	set    bool               // the default has been replaced
}

func (v *listValue) String() string {
	if v.target == nil {
		return ""
	}
	return strings.Join(*v.target, ",")
}
func (v *listValue) Type() string { return "list" }
func (v *listValue) Set(s string) error {
	items, err := parse.List(s)
	if err != nil {
		return err
	}
	for _, item := range items {
		if v.check == nil {
			break
		}
		if err := v.check(item); err != nil {
			return err
		}
	}
	if v.set {
		items = append(slices.Clone(*v.target), items...)
	}
	if sorted := slices.Sorted(slices.Values(items)); v.once {
		for i, item := range sorted[1:] {
			if item == sorted[i] {
				return fmt.Errorf("%q is there twice: want each once", item)
			}
		}
	}
	v.set = true
	*v.target = items
	return nil
}

// urlListValue is the same of URLs, which are shown without passwords.
type urlListValue struct{ listValue }

func (v *urlListValue) String() string {
	if v.target == nil {
		return ""
	}
	var visible []string
	for _, item := range *v.target {
		visible = append(visible, text.URL(item))
	}
	return strings.Join(visible, ",")
}

// jsonListValue takes a JSON array of strings.
type jsonListValue struct{ target *[]string }

func (v *jsonListValue) String() string {
	if v.target == nil || len(*v.target) == 0 {
		return ""
	}
	b, _ := json.Marshal(*v.target) // strings always marshal
	return string(b)
}
func (v *jsonListValue) Type() string { return "json" }
func (v *jsonListValue) Set(s string) error {
	items, err := parse.EndpointNames(s)
	if err == nil {
		*v.target = items
	}
	return err
}

// labelsValue takes name=value pairs with commas between them, or the flag again for each.
type labelsValue struct{ target *map[string]string }

func (v *labelsValue) String() string {
	if v.target == nil {
		return ""
	}
	var pairs []string
	for k, value := range *v.target {
		pairs = append(pairs, k+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}
func (v *labelsValue) Type() string { return "name=value" }
func (v *labelsValue) Set(s string) error {
	if len(*v.target) > 0 {
		s = v.String() + "," + s
	}
	labels, err := parse.Labels(s)
	if err == nil {
		*v.target = labels
	}
	return err
}

// labelSetting is the setting of what a process has in common with others.
func labelSetting(target *map[string]string) setting {
	return setting{"label", "DYN_LABELS", &labelsValue{target}, "what this process has in common with others, such as zone=a,rack=r3,gpu=H100: frontends say which of them those that fail share"}
}

// absolutePath accepts the path of a route.
func absolutePath(s string) error {
	if !strings.HasPrefix(s, "/") {
		return errors.New("want a path that begins with /")
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// expectSetting is what a frontend expects.
func expectSetting(target *[]expect.Expectation) setting {
	return setting{"expect", "DYN_EXPECT", &expectValue{target}, "what /ready expects of the fleet, such as 'dyn://dynamo.prefill.generate>=14'; several with commas between them, or the flag again"}
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

// namePart accepts what may stand in one part of an endpoint's name.
func namePart(set func(*dynmesh.Endpoint, string)) func(string) error {
	return func(s string) error {
		e := dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}
		set(&e, s)
		return e.Validate()
	}
}

// reachableHost accepts a host that means the same to others as it does here.
func reachableHost(s string) error {
	_, err := discovery.AdvertiseHost(s, nil)
	return err
}

func hostPort(s string) error {
	_, _, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want host:port, such as 127.0.0.1:9100")
	}
	return nil
}

// budgetValue takes off, on, or tokens an hour.
type budgetValue struct{ target *int }

func (v *budgetValue) String() string {
	if v.target == nil || *v.target == 0 {
		return "off"
	}
	return strconv.Itoa(*v.target)
}
func (v *budgetValue) Type() string { return "off|on|tokens" }
func (v *budgetValue) Set(s string) error {
	switch s {
	case "off", "false", "0":
		*v.target = 0
		return nil
	case "on", "true":
		*v.target = answers.Default
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < answers.Least || n > answers.Most {
		return fmt.Errorf("want off, on, or %d to %d tokens an hour", answers.Least, answers.Most)
	}
	*v.target = n
	return nil
}
