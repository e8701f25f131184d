package e2e

import "testing"

// pick is short for every change, and whole for figures: see TestLongScenarios.
func pick[T any](full bool, short, whole T) T {
	if full {
		return whole
	}
	return short
}

// inShort makes a scenario that has two lengths one of the short ones.
func inShort(scenario func(*testing.T, *world, bool)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { scenario(t, w, false) }
}

// inFull makes it one of the long ones.
func inFull(scenario func(*testing.T, *world, bool)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { scenario(t, w, true) }
}
