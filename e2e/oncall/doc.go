// Package oncall holds what people on call are given to what really runs: the runbook's commands,
// the alerts, the dashboard and the schemas of docs and deploy, tried on a small mesh of real
// processes in which things break. It holds tests only.
//
// promtool, prometheus, jq and curl are asked where they are installed; a test that wants one of
// them and finds it missing is left out, and says so.
package oncall
