// Package figures measures what docs/benchmarks.md states, each figure beside a baseline in the
// same run. It holds tests only: `make bench` runs them and prints the table.
package figures
