// Package routing tries outputs with the real programs that they are for: a frontend, three
// workers, HAProxy or nginx in front of them, and requests, while a worker is killed, frozen or
// fails. make e2e runs it. What is not installed leaves its test out, and says so.
package routing
