package pairs

import (
	"bytes"
	"net"
	"strings"
)

// key is a key of a request that means something here.
type key uint8

const (
	keyNone   key = iota
	keyParams     // of which the values name the peer
	keyEngine
	keyHost
	keyPort
	keyAddr
	keyReads // it is the request to the one that reads the prompt
)

// keyOf knows the words of vLLM (NixlConnector, MooncakeConnector), SGLang and TensorRT-LLM.
// Dynamo's have the same in prefill_result.
func keyOf(word []byte) key {
	switch string(word) { // does not allocate
	case "kv_transfer_params", "disaggregated_params", "prefill_result":
		return keyParams
	case "remote_engine_id":
		return keyEngine
	case "remote_host", "bootstrap_host":
		return keyHost
	case "remote_port", "bootstrap_port":
		return keyPort
	case "remote_bootstrap_addr", "ctx_info_endpoint":
		return keyAddr
	case "do_remote_decode":
		return keyReads
	}
	return keyNone
}

// maxDepth is how deep a request may nest where a peer is named in it.
const maxDepth = 8

// Scanner finds in a request, which comes in pieces of any size, who has read its prompt. It knows
// no errors: what is no JSON names nobody. It allocates nothing until it has found something, and a
// request of any size takes the same memory. The zero value is ready.
//
// A prompt that is a text takes as long as a search for its end.
type Scanner struct {
	depth   int
	named   uint16            // bit n: the container at depth n may name a peer
	objects uint64            // bit n: the container at depth n is an object
	key     key               // of the value that comes
	of      [maxDepth + 1]key // the key of each array

	inText, escaped, isKey, waiting bool // waiting: a key comes next
	scalar                          bool

	word [maxHost]byte
	n    int // bytes of word; beyond its length the text is longer than it

	engine, host, port, addr string
	reads                    bool
}

// Scan takes in the next piece.
func (s *Scanner) Scan(data []byte) {
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case s.inText && !s.wanted():
			// Most of a request is in here.
			end := bytes.IndexByte(data[i:], '"')
			if end < 0 {
				s.escaped = isEscaped(data[i:], s.escaped)
				return
			}
			s.escaped = isEscaped(data[i:i+end], s.escaped)
			i += end
			if s.escaped {
				s.escaped = false // the quote is
				continue
			}
			s.inText = false
			continue
		case s.inText:
			switch {
			case s.escaped:
				s.escaped = false
				s.add(0) // matches nothing
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.inText = false
				s.endText()
			default:
				s.add(c)
			}
			continue
		case s.scalar:
			if c != ',' && c != '}' && c != ']' && c > ' ' {
				s.add(c)
				continue
			}
			s.scalar = false
			s.value(string(s.taken()))
		}
		switch c {
		case ' ', '\t', '\n', '\r', ':':
			s.waiting = s.waiting && c != ':'
		case '"':
			s.inText, s.n, s.isKey = true, 0, s.waiting
		case '{', '[':
			s.open(c == '{')
		case '}', ']':
			s.depth = max(s.depth-1, 0)
			s.waiting, s.key = false, keyNone
		case ',':
			s.waiting = s.isObject()
			if s.waiting {
				s.key = keyNone
			}
		default:
			if s.wanted() {
				s.scalar, s.n = true, 0
				s.add(c)
				continue
			}
			for !s.isObject() && i+1 < len(data) && isOfNumbers(data[i+1]) {
				i++ // a prompt in tokens
			}
		}
	}
}

// isOfNumbers says whether a byte may be in the middle of an array of numbers.
func isOfNumbers(c byte) bool { return c >= '0' && c <= '9' || c == ',' || c == ' ' }

// isEscaped says whether what follows a piece of a text is escaped, if its beginning was or was
// not.
func isEscaped(piece []byte, began bool) bool {
	n := len(piece) - len(bytes.TrimRight(piece, `\`))
	if n == len(piece) && began {
		n++
	}
	return n%2 == 1
}

// wanted says whether the text or number that comes may mean something.
func (s *Scanner) wanted() bool {
	return s.inText && s.isKey || s.arrayKey() >= keyEngine
}

// arrayKey is the key of the value that comes, or of the array that it is in.
func (s *Scanner) arrayKey() key {
	if s.depth > 0 && s.depth <= maxDepth && !s.isObject() {
		return s.of[s.depth]
	}
	return s.key
}

func (s *Scanner) isObject() bool {
	return s.depth > 0 && s.depth < 64 && s.objects&(1<<s.depth) != 0
}

// names says whether values at this depth may name a peer: those at the root, and those in what has
// the key of parameters.
func (s *Scanner) names() bool {
	return s.depth > 0 && s.depth <= maxDepth && s.named&(1<<s.depth) != 0
}

func (s *Scanner) open(object bool) {
	of := s.arrayKey()
	named := s.depth == 0 || s.names() && (of == keyParams || !object)
	s.depth++
	if s.depth <= maxDepth {
		s.of[s.depth] = of
		s.named &^= 1 << s.depth
		if named {
			s.named |= 1 << s.depth
		}
	}
	if s.depth < 64 {
		s.objects &^= 1 << s.depth
		if object {
			s.objects |= 1 << s.depth
		}
	}
	s.waiting, s.key = object, keyNone
}

func (s *Scanner) add(c byte) {
	if s.n < len(s.word) {
		s.word[s.n] = c
	}
	s.n++
}

// taken is the word, if it is short enough.
func (s *Scanner) taken() []byte {
	if s.n > len(s.word) {
		return nil
	}
	return s.word[:s.n]
}

func (s *Scanner) endText() {
	if !s.isKey {
		s.value(string(s.taken()))
		return
	}
	s.key = keyNone
	if s.names() {
		s.key = keyOf(s.taken())
	}
}

// value takes in a text, a number or a word of JSON. The first of each counts: a batch names one
// for each of its prompts.
func (s *Scanner) value(v string) {
	var to *string
	switch s.arrayKey() {
	case keyEngine:
		to = &s.engine
	case keyHost:
		to = &s.host
	case keyPort:
		to = &s.port
	case keyAddr:
		to = &s.addr
	default:
		s.reads = s.reads || v == "true"
		return
	}
	if *to == "" && isWord(v, maxHost) && v != "null" && v != "true" && v != "false" {
		*to = v
	}
}

// Peer returns who has read the prompt, once all of the request has come; the zero value: nobody is
// named, as by what an engine of SGLang's is to answer alone.
func (s *Scanner) Peer() Peer {
	if s.reads || s.host == Nobody {
		return Peer{}
	}
	addr := strings.Trim(s.host, "[]")
	switch {
	case addr == "":
		addr = authority(s.addr)
	case s.port != "":
		addr = net.JoinHostPort(addr, s.port)
	}
	if isWord(s.engine, maxEngine) && isWord(addr, maxHost+len("[]:65535")) {
		return Peer{Engine: s.engine, Addr: addr}
	}
	return Peer{}
}

// authority is where a URL leads: its host, and its port if it has one. What is no URL stays.
func authority(u string) string {
	if _, after, isURL := strings.Cut(u, "://"); isURL {
		u, _, _ = strings.Cut(after, "/")
		u = u[strings.LastIndexByte(u, '@')+1:] // a password may be before it
	}
	if strings.HasSuffix(u, "]") { // an IPv6 address alone
		u = strings.Trim(u, "[]")
	}
	return u
}
