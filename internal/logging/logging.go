// Package logging has what all rooms do with a logger that they are given. A program decides where
// its log goes; a library takes an entry and writes nothing where it got none.
package logging

import (
	"io"

	"github.com/sirupsen/logrus"
)

// OrDiscard returns log, or where that is nil one that formats and writes nothing.
func OrDiscard(log *logrus.Entry) *logrus.Entry {
	if log != nil {
		return log
	}
	discard := logrus.New()
	discard.SetOutput(io.Discard)
	discard.SetLevel(logrus.PanicLevel) // so that nothing is formatted either
	return logrus.NewEntry(discard)
}
