// Package traffic counts the requests of one endpoint or engine while they run, so cheaply that
// every chunk can be counted. What it counts is read as canary.Activity.
//
// It is for those who pass requests on: a worker's request server and worker/proxy. What follows
// from the counts is for package canary to say.
package traffic
