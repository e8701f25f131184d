package swim

import (
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/gossip/frame"
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

// linePattern says what lines mean that contain one of the texts.
type linePattern struct {
	reject  string // counted as rejected for this reason
	warning string // what an operator is told; empty: nothing
	signal  Signal // of the member whose name follows the text
	texts   []string
}

// linePatterns returns the patterns, of which the first that fits is taken.
func linePatterns() []linePattern {
	const (
		garbage  = "What came to this port cannot be read"
		overload = "More came than memberlist could take"
	)
	return []linePattern{
		{texts: []string{ // of a connection that others opened, or we
			"i/o timeout", "use of closed network connection", "connection reset by peer", "broken pipe"}},
		{reject: "compressed", warning: garbage, texts: []string{frame.ErrCompressed.Error()}},
		{reject: "oversized", warning: garbage, texts: []string{frame.ErrTooLong.Error()}},
		{reject: "malformed", warning: garbage, texts: []string{frame.ErrMalformed.Error()}},
		{reject: "overload", warning: overload, texts: []string{errNoRoom.Error()}},
		{reject: "incarnation", warning: "Somebody claims of a member what cannot be: it is not believed", texts: []string{frame.ErrRunAway.Error()}},
		{reject: "label", warning: "Something with another label talks to this port: another pool, or nothing of the kind",
			texts: []string{"unacceptable label", "label header", "cannot decode label"}},
		{reject: "key", warning: "Something without this pool's key talks to this port",
			texts: []string{"Decrypt packet failed", "no installed keys could decrypt"}},
		{reject: "plain", warning: "Something talks to this port without encryption, and this member has a key",
			texts: []string{"encryption is configured but remote state is not encrypted"}},
		{reject: "encrypted", warning: "Something talks to this port encrypted, and this member has no key",
			texts: []string{"remote state is encrypted and encryption is not configured"}},
		{reject: "overload", warning: overload,
			texts: []string{"handler queue full", "Too many pending push/pull"}},
		{reject: "malformed", warning: garbage, texts: []string{
			"Failed to decode", "Failed to decompress", "invalid checksum", "truncated messages", "missing message type byte",
			"not supported", "Received invalid msgType", "Failed to read remote state", "Failed to receive user message",
			"failed to receive:"}},
		{reject: "member", warning: garbage, texts: []string{"Ignoring an alive message"}},
		{texts: []string{"ignoring alive message"}}, // the delegate has counted it
		{reject: "member", warning: "The members of another pool cannot be taken in", texts: []string{"Failed push/pull merge"}},
		{reject: "conflict", warning: "Two addresses claim to be one member", texts: []string{"Conflicting address for "}},
		{signal: Suspected, texts: []string{"Suspect "}},
		{signal: UDPDegraded, texts: []string{"Was able to connect to "}},
		{texts: []string{ // what becomes of it the pool says, where it becomes anything
			"Marking ", "Refuting ", "Got ping for unexpected node", "Failed to send", "Failed to forward ack",
			"Failed fallback TCP ping", "Failed to push local state", "Push/Pull with", "failed to join",
			"Binding to public address without encryption"}},
	}
}

// patternOf returns the pattern that a line fits, and what follows its text.
func patternOf(line string) (p linePattern, rest string, known bool) {
	for _, p := range linePatterns() {
		for _, text := range p.texts {
			if _, rest, found := strings.Cut(line, text); found {
				return p, rest, true
			}
		}
	}
	return linePattern{}, "", false
}

// Write takes one line.
func (a *logAdapter) Write(b []byte) (int, error) {
	level, line := levelOf(strings.TrimSpace(string(b)))
	if level >= logrus.DebugLevel { // nothing that counts is said there, and much that does not
		a.log.Trace(line)
		return len(b), nil
	}
	p, rest, known := patternOf(line)
	if p.reject != "" {
		a.reject(p.reject)
	}
	if p.signal != 0 {
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
