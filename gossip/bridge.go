package gossip

import (
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// bridge is where memberlist writes its log, one line a call. memberlist has no other way to tell what it refused and whom it
// suspects, so the lines are read; a test holds their texts. It warns of every packet that does not reach somebody, and
// that is the pool's to say, so what the table knows goes out as debug at most.
type bridge struct {
	log     *logrus.Entry
	metrics *metrics
	notice  func(name string, n notice) // must not wait
	limits  limits
}

// notice is what a line says of a member.
type notice uint8

const (
	suspected   notice = 1 << iota // memberlist's own probe of it had no answer
	udpDegraded                    // it answered over TCP and not over UDP
	udpWorks                       // it answered over UDP
)

// rule says what a line means that contains the text.
type rule struct {
	text    string
	reject  string // counted as rejected for this reason
	warning string // what an operator is told; empty: nothing, or what memberlist said where unknown
	notice  notice // of the member whose name follows text
}

// rules, of which the first that fits is taken.
func rules() []rule {
	const (
		label     = "Something with another label talks to this port: another pool, or nothing of the kind"
		key       = "Something without this pool's key talks to this port"
		plain     = "Something talks to this port without encryption, and this member has a key"
		encrypted = "Something talks to this port encrypted, and this member has no key"
		garbage   = "What came to this port cannot be read"
	)
	return []rule{
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
		{text: "Suspect ", notice: suspected},
		{text: "Was able to connect to ", notice: udpDegraded},
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

func ruleOf(line string) (rule, bool) {
	for _, r := range rules() {
		if strings.Contains(line, r.text) {
			return r, true
		}
	}
	return rule{}, false
}

// Write takes one line.
func (b *bridge) Write(p []byte) (int, error) {
	level, line := levelOf(strings.TrimSpace(string(p)))
	if level >= logrus.DebugLevel { // nothing that counts is said there, and much that does not
		b.log.Trace(line)
		return len(p), nil
	}
	r, known := ruleOf(line)
	if r.reject != "" {
		b.metrics.reject(r.reject)
	}
	if r.notice != 0 {
		_, rest, _ := strings.Cut(line, r.text)
		name, _, _ := strings.Cut(rest, " ")
		b.notice(name, r.notice)
	}
	switch {
	case known && r.warning == "":
		b.log.Debug(line)
	case known:
		b.warn(r.warning, line)
	case level <= logrus.WarnLevel:
		b.warn("memberlist complains", line)
	default:
		b.log.Debug(line)
	}
	return len(p), nil
}

// warn says the same thing once a minute, with how often it was the case and one example.
func (b *bridge) warn(message, line string) {
	b.log.Debug(line)
	if times := b.limits.allow(message, time.Now()); times > 0 {
		b.log.WithFields(logrus.Fields{"err": line, "times": times}).Warn(message)
	}
}

// levelOf takes memberlist's level off a line: memberlist's info is an operator's debug, and its debug is said for
// every connection.
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

// maxLimits is how many messages are remembered: the addresses that a lone member tries are ever new ones.
const maxLimits = 256

// limits lets each of a few messages pass once a minute.
type limits struct {
	mu   sync.Mutex
	said map[string]*limit
}

type limit struct {
	at      time.Time
	skipped int
}

// allow returns how many times the message stands for, or 0 when it is not to be said now.
func (l *limits) allow(message string, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil {
		l.said = make(map[string]*limit)
	}
	s := l.said[message]
	if s == nil {
		for m, other := range l.said {
			if now.Sub(other.at) >= time.Hour || len(l.said) >= maxLimits {
				delete(l.said, m)
			}
		}
		s = &limit{at: now.Add(-time.Hour)}
		l.said[message] = s
	}
	if now.Sub(s.at) < time.Minute {
		s.skipped++
		return 0
	}
	times := s.skipped + 1
	s.at, s.skipped = now, 0
	return times
}
