package rig

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Chooser reads from variables which cells are run. Its first error stays.
type Chooser struct {
	Variable string // which all names begin with
	Getenv   func(string) string
	Err      error
}

func (c *Chooser) list(name, instead string) []string {
	return strings.Split(cmp.Or(c.Getenv(c.Variable+name), instead), ",")
}

// Numbers reads numbers from least to 1000.
func (c *Chooser) Numbers(name, instead string, least int) (all []int) {
	for _, v := range c.list(name, instead) {
		n, wrong := strconv.Atoi(v)
		if wrong != nil || n < least || n > 1000 {
			c.Err = cmp.Or(c.Err, fmt.Errorf("%s%s: %q: want numbers from %d to 1000, with commas between them", c.Variable, name, v, least))
		}
		all = append(all, n)
	}
	return all
}

// Choose returns those that a variable names, or those named instead.
func Choose[T fmt.Stringer](c *Chooser, name, instead string, from []T) (all []T) {
	for _, v := range c.list(name, instead) {
		i := slices.Index(Names(from), v)
		if i < 0 {
			c.Err = cmp.Or(c.Err, fmt.Errorf("%s%s: %q: want some of %s, with commas between them", c.Variable, name, v, strings.Join(Names(from), ",")))
			return nil
		}
		all = append(all, from[i])
	}
	return all
}

// Names are what they call themselves.
func Names[T fmt.Stringer](of []T) (all []string) {
	for _, one := range of {
		all = append(all, one.String())
	}
	return all
}
