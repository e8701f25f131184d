package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// run returns a part that notes its end: after so long, or when it is told to, and then so long
// after.
func ending(after, slow time.Duration, err error, note func()) func(context.Context) error {
	return func(ctx context.Context) error {
		defer note()
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			return err
		case <-ctx.Done():
		}
		time.Sleep(slow)
		return err
	}
}

func TestBesideAll(t *testing.T) {
	const never = time.Hour
	lost := errors.New("lost")
	for _, tt := range []struct {
		name         string
		first, other func(note func()) func(context.Context) error // beside the body
		body         func(note func()) func(context.Context) error
		order        []string
		took         time.Duration
		err          string
	}{
		{"told to end: the body first, then what is beside it, inside out",
			func(n func()) func(context.Context) error { return ending(never, 0, nil, n) },
			func(n func()) func(context.Context) error { return ending(never, 0, nil, n) },
			func(n func()) func(context.Context) error { return ending(never, 2*time.Second, nil, n) },
			[]string{"body", "other", "first"}, 12 * time.Second, ""},
		{"the body ends by itself",
			func(n func()) func(context.Context) error { return ending(never, time.Second, nil, n) },
			func(n func()) func(context.Context) error { return ending(never, time.Second, lost, n) },
			func(n func()) func(context.Context) error { return ending(time.Second, 0, lost, n) },
			[]string{"body", "other", "first"}, 3 * time.Second, "lost\nother: lost"},
		{"the innermost other ends by itself",
			func(n func()) func(context.Context) error { return ending(never, 0, nil, n) },
			func(n func()) func(context.Context) error { return ending(time.Second, 0, lost, n) },
			func(n func()) func(context.Context) error { return ending(never, time.Second, nil, n) },
			[]string{"other", "body", "first"}, 2 * time.Second, "other: ended by itself\nlost"},
		{"the outermost other ends by itself, without an error",
			func(n func()) func(context.Context) error { return ending(time.Second, 0, nil, n) },
			func(n func()) func(context.Context) error { return ending(never, 0, nil, n) },
			func(n func()) func(context.Context) error { return ending(never, time.Second, nil, n) },
			[]string{"first", "body", "other"}, 2 * time.Second, "first: ended by itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				began := time.Now()
				var order []string
				note := func(name string) func() { return func() { order = append(order, name) } }
				err := besideEach(ctx, []component{{"first", tt.first(note("first"))}, {"other", tt.other(note("other"))}}, tt.body(note("body")))
				text := ""
				if err != nil {
					text = err.Error()
				}
				if took := time.Since(began); !slices.Equal(order, tt.order) || took != tt.took || text != tt.err {
					t.Errorf("got %v, %v, %q, want %v, %v, %q", order, took, text, tt.order, tt.took, tt.err)
				}
			})
		})
	}
}
