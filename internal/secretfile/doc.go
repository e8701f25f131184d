// Package secretfile reads files of keys and tokens, and refuses those that others on the host can
// use. It is for whatever takes a secret from a file.
package secretfile
