package swim

import (
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// logAdapter is where memberlist writes its log, one line a call. memberlist has no other way to
// tell what it refused and whom it suspects, so the lines are read; a test holds their texts.
// memberlist warns of every packet that does not reach somebody, and that is the pool's to say, so
// what a pattern says to ignore goes out as debug at most.
type logAdapter struct {
	log      *logrus.Entry
	reject   func(reason string)
	signal   func(name string, s Signal) // must not wait
	throttle Throttle
}

// Signal is what memberlist has noticed of a member.
type Signal uint8

// The signals, which may come together.
const (
	Suspected   Signal = 1 << iota // memberlist's own probe of it had no answer
	UDPDegraded                    // it answered over TCP and not over UDP
	UDPWorks                       // it answered over UDP
)

// linePattern says what a line means that contains the text.
type linePattern struct {
	text    string
	reject  string // counted as rejected for this reason
	warning string // what an operator is told; empty: nothing, or what memberlist said where unknown
	signal  Signal // of the member whose name follows text
}

// linePatterns returns the patterns, of which the first that fits is taken.
func linePatterns() []linePattern {
	const (
		label     = "Something with another label talks to this port: another pool, or nothing of the kind"
		key       = "Something without this pool's key talks to this port"
		plain     = "Something talks to this port without encryption, and this member has a key"
		encrypted = "Something talks to this port encrypted, and this member has no key"
		garbage   = "What came to this port cannot be read"
	)
	return []linePattern{
		{text: "unacceptable label", reject: "label", warning: label},
		{text: "label header", reject: "label", warning: label},
		{text: "cannot decode label", reject: "label", warning: label},
		{text: "Decrypt packet failed", reject: "key", warning: key},
		{text: "no installed keys could decrypt", reject: "key", warning: key},
		{text: "encryption is configured but remote state is not encrypted", reject: "plain", warning: plain},
		{text: "remote state is encrypted and encryption is not configured", reject: "encrypted", warning: encrypted},
		{text: "handler queue full", reject: "overload", warning: "More came than memberlist could take"},
		{text: "Too many pending push/pull", reject: "overload", warning: "More came than memberlist could take"},
		{text: "i/o timeout"}, // of a connection that others opened, or we
		{text: "use of closed network connection"},
		{text: "connection reset by peer"},
		{text: "broken pipe"},
		{text: "Failed to decode", reject: "malformed", warning: garbage},
		{text: "Failed to decompress", reject: "malformed", warning: garbage},
		{text: "invalid checksum", reject: "malformed", warning: garbage},
		{text: "truncated messages", reject: "malformed", warning: garbage},
		{text: "missing message type byte", reject: "malformed", warning: garbage},
		{text: "not supported", reject: "malformed", warning: garbage},
		{text: "Received invalid msgType", reject: "malformed", warning: garbage},
		{text: "Failed to read remote state", reject: "malformed", warning: garbage},
		{text: "Failed to receive user message", reject: "malformed", warning: garbage},
		{text: "failed to receive:", reject: "malformed", warning: garbage},
		{text: "Ignoring an alive message", reject: "member", warning: garbage},
		{text: "ignoring alive message"}, // the delegate has counted it
		{text: "Failed push/pull merge", reject: "member", warning: "The members of another pool cannot be taken in"},
		{text: "Conflicting address for ", reject: "conflict", warning: "Two addresses claim to be one member"},
		{text: "Suspect ", signal: Suspected},
		{text: "Was able to connect to ", signal: UDPDegraded},
		// What becomes of it the pool says, where it becomes anything.
		{text: "Marking "},
		{text: "Refuting "},
		{text: "Got ping for unexpected node"},
		{text: "Failed to send"},
		{text: "Failed to forward ack"},
		{text: "Failed fallback TCP ping"},
		{text: "Failed to push local state"},
		{text: "Push/Pull with"},
		{text: "failed to join"},
		{text: "Binding to public address without encryption"}, // NewPool warns
		{text: "Failed to send gossip"},
	}
}

func patternOf(line string) (linePattern, bool) {
	for _, p := range linePatterns() {
		if strings.Contains(line, p.text) {
			return p, true
		}
	}
	return linePattern{}, false
}

// Write takes one line.
func (a *logAdapter) Write(b []byte) (int, error) {
	level, line := levelOf(strings.TrimSpace(string(b)))
	if level >= logrus.DebugLevel { // nothing that counts is said there, and much that does not
		a.log.Trace(line)
		return len(b), nil
	}
	p, known := patternOf(line)
	if p.reject != "" {
		a.reject(p.reject)
	}
	if p.signal != 0 {
		_, rest, _ := strings.Cut(line, p.text)
		name, _, _ := strings.Cut(rest, " ")
		a.signal(name, p.signal)
	}
	switch {
	case known && p.warning == "":
		a.log.Debug(line)
	case known:
		a.warn(p.warning, line)
	case level <= logrus.WarnLevel:
		a.warn("memberlist complains", line)
	default:
		a.log.Debug(line)
	}
	return len(b), nil
}

// warn says the same thing once a minute, with how often it was the case and one example.
func (a *logAdapter) warn(message, line string) {
	a.log.Debug(line)
	if times := a.throttle.Allow(message, time.Now()); times > 0 {
		a.log.WithFields(logrus.Fields{"err": line, "times": times}).Warn(message)
	}
}

// levelOf takes memberlist's level off a line: memberlist's info is an operator's debug, and its
// debug is said for every connection.
func levelOf(line string) (logrus.Level, string) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(line, "["), "] ")
	if !ok || !strings.HasPrefix(line, "[") {
		return logrus.WarnLevel, line
	}
	rest = strings.TrimPrefix(rest, "memberlist: ")
	switch name {
	case "ERR", "ERROR":
		return logrus.ErrorLevel, rest
	case "WARN":
		return logrus.WarnLevel, rest
	case "INFO":
		return logrus.InfoLevel, rest
	case "DEBUG":
		return logrus.DebugLevel, rest
	}
	return logrus.WarnLevel, line
}
