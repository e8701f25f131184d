package proxy

// The scanner's bounds. What is longer or deeper than they say is passed over.
const (
	maxWord  = 32 // bytes of a key or a short text that are looked at
	maxDepth = 8  // containers whose keys are remembered
)

// key is a key that means something here.
type key uint8

const (
	keyNone key = iota
	keyOther
	keyUsage
	keyChoices
	keyDelta
	keyMessage
	keyResponse
	keyError
	keyMeta // SGLang's meta_info, TGI's details
	keyRole
	keyType    // Anthropic, OpenAI's responses
	keyObject  // older vLLM's errors have "error" there
	keyEvent   // Dynamo's, too
	keyFinish  // why it ended
	keyCode    // of an error
	keyInput   // tokens
	keyOutput  // tokens
	keyStopped // llama.cpp's stop, Ollama's done
	keyText
)

func keyOf(word []byte) key {
	switch string(word) { // does not allocate
	case "usage":
		return keyUsage
	case "choices":
		return keyChoices
	case "delta":
		return keyDelta
	case "message":
		return keyMessage
	case "response":
		return keyResponse
	case "error":
		return keyError
	case "meta_info", "details":
		return keyMeta
	case "role":
		return keyRole
	case "type":
		return keyType
	case "object":
		return keyObject
	case "event":
		return keyEvent
	case "finish_reason", "stop_reason", "done_reason":
		return keyFinish
	case "code", "status":
		return keyCode
	case "prompt_tokens", "input_tokens", "prompt_eval_count", "tokens_evaluated":
		return keyInput
	case "completion_tokens", "output_tokens", "eval_count", "tokens_predicted", "generated_tokens":
		return keyOutput
	case "stop", "done":
		return keyStopped
	case "text":
		return keyText
	}
	return keyOther
}

// facts are what one document says. A later one of a stream adds to them.
type facts struct {
	failed    bool // there is an error in it
	errorCode int  // its status, 0 where it names none
	finished  bool // a reason to finish, or an end in the words of its API
	content   bool // something of an answer
	choices   bool // it has OpenAI's form
	began     bool // it only says that an answer begins, or that the engine lives
	noNumber  bool // a number in it is none

	input, output       int // tokens
	hasInput, hasOutput bool
}

// scanner finds facts in JSON that comes in pieces of any size. It knows no errors: what is no JSON
// has no facts. It allocates nothing, and a document of any size takes the same memory.
type scanner struct {
	facts
	depth   int
	stack   [maxDepth]key // the key whose value each container is; arrays pass on their own
	objects uint64        // bit n: the container at depth n is an object
	key     key           // of the value that comes
	mode    mode
	escaped bool // the last byte in a text was a backslash
	isKey   bool // the text that is read is a key
	waiting bool // a key comes next
	some    bool // anything but white space has come

	word [maxWord]byte
	n    int // bytes of word; beyond maxWord the text is longer than it

	// What the document adds to the answer, as far as it is looked at; piece is good until the next
	// one adds something.
	piece [maxWord]byte
	added int // bytes; 0: nothing that is text
}

type mode uint8

const (
	between mode = iota
	inText
	inScalar // number, true, false or null
)

// reset makes it ready for the next document.
func (s *scanner) reset() {
	s.facts = facts{}
	s.depth, s.objects, s.key, s.mode, s.escaped, s.isKey, s.waiting, s.some, s.n, s.added = 0, 0, keyNone, between, false, false, false, false, 0, 0
}

// parent is the key whose value the innermost container is.
func (s *scanner) parent(up int) key {
	d := s.depth - up
	if d < 1 || d > maxDepth {
		return keyNone
	}
	return s.stack[d-1]
}

// scan takes in the next piece.
func (s *scanner) scan(data []byte) {
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch s.mode {
		case inText:
			// Most of an answer is in here.
			for !s.escaped && c != '"' && c != '\\' {
				if s.n < maxWord {
					s.word[s.n] = c
				}
				s.n++
				if i++; i == len(data) {
					return
				}
				c = data[i]
			}
			switch {
			case s.escaped:
				s.escaped = false
				s.n++ // an escape counts for a byte that matches nothing
				if s.n <= maxWord {
					s.word[s.n-1] = 0
				}
			case c == '\\':
				s.escaped = true
			default:
				s.mode = between
				s.endText()
			}
			continue
		case inScalar:
			if c != ',' && c != '}' && c != ']' && c > ' ' {
				if s.n < maxWord {
					s.word[s.n] = c
				}
				s.n++
				continue
			}
			s.mode = between
			s.endScalar()
		}
		switch c {
		case ' ', '\t', '\n', '\r':
		case '"':
			s.some = true
			s.mode, s.n, s.isKey = inText, 0, s.waiting
		case '{', '[':
			s.some = true
			s.open(c == '{')
		case '}', ']':
			s.close()
		case ':':
			s.waiting = false
		case ',':
			s.waiting = s.inObject()
		default:
			s.some = true
			if s.mode, s.n = inScalar, 1; s.n <= maxWord {
				s.word[0] = c
			}
		}
	}
}

// finish ends the document: a number may be the last thing in it.
func (s *scanner) finish() {
	if s.mode == inScalar {
		s.mode = between
		s.endScalar()
	}
}

func (s *scanner) inObject() bool {
	return s.depth > 0 && s.depth <= 63 && s.objects&(1<<s.depth) != 0
}

func (s *scanner) open(object bool) {
	of := s.key
	if s.depth > 0 && !s.inObject() {
		of = s.parent(0) // an array's elements are what the array is
	}
	if object {
		s.value(of, kindObject)
	} else {
		s.value(of, kindArray)
	}
	s.depth++
	if s.depth <= maxDepth {
		s.stack[s.depth-1] = of
	}
	if s.depth <= 63 {
		s.objects &^= 1 << s.depth
		if object {
			s.objects |= 1 << s.depth
		}
	}
	s.waiting = object
	s.key = keyNone
}

func (s *scanner) close() {
	if s.depth > 0 {
		s.depth--
	}
	s.waiting = false
	s.key = keyNone
}

func (s *scanner) endText() {
	if s.isKey {
		s.key = keyOther
		if s.n <= maxWord {
			s.key = keyOf(s.word[:s.n])
		}
		return
	}
	of := s.key
	if !s.inObject() {
		of = s.parent(0)
	}
	if s.n == 0 {
		return // says nothing
	}
	s.value(of, kindText)
}

func (s *scanner) endScalar() {
	of := s.key
	if !s.inObject() {
		of = s.parent(0)
	}
	switch s.word[0] {
	case 'n': // null
	case 'f':
	case 't':
		s.value(of, kindTrue)
	case 'N':
		s.noNumber = s.noNumber || s.is("NaN") // Python's; a word in plain text is none
	default:
		s.value(of, kindNumber)
	}
}

type kind uint8

const (
	kindText kind = iota // one that is not empty
	kindNumber
	kindTrue
	kindObject
	kindArray
)

// value takes in a value that is not a polite nothing, where it stands: of is its key, or that of
// the array it is in.
func (s *scanner) value(of key, kind kind) {
	inside := s.parent(0)
	root := s.depth == 1
	switch of {
	case keyError:
		if root || s.depth == 2 && inside == keyResponse {
			s.failed = true
		}
	case keyObject, keyEvent:
		if root && kind == kindText && s.is("error") {
			s.failed = true
		}
	case keyType:
		if kind == kindText {
			s.typed(root, inside)
		}
	case keyFinish:
		switch {
		case kind == kindText && (s.is("error") || s.is("abort")):
			s.failed = true
		case root, inside == keyChoices, inside == keyDelta, inside == keyMeta, inside == keyMessage:
			s.finished = true
		}
	case keyStopped:
		if root && kind == kindTrue {
			s.finished = true
		}
	case keyCode:
		if inside == keyError && kind == kindNumber {
			s.errorCode, _ = s.number()
		}
	case keyInput, keyOutput:
		if kind == kindNumber && (root || inside == keyUsage || inside == keyMeta) {
			s.tokens(of)
		}
	case keyChoices:
		if root {
			s.choices = true
		}
	}
	s.substance(of, inside, kind)
}

// substance finds what is an answer. A chat's first chunk has but a role, and is sent before the
// model has done anything.
func (s *scanner) substance(of, inside key, kind kind) {
	switch {
	case of == keyRole || of == keyType || of == keyNone:
	case inside == keyDelta, inside == keyMessage && s.choices:
		s.content = s.content || kind == kindText || kind == kindObject
		s.add(kind)
	case kind == kindObject && inside == keyOther: // calls of tools
		s.content = s.content || s.parent(1) == keyDelta || s.parent(1) == keyMessage && s.choices
	case inside == keyChoices && of == keyText:
		s.content = s.content || kind == kindText
		s.add(kind)
	}
}

// add keeps what is added to the answer.
func (s *scanner) add(kind kind) {
	if kind == kindText {
		s.piece, s.added = s.word, s.n
		clear(s.piece[min(s.n, maxWord):])
	}
}

// typed reads the type of an event of Anthropic's API, or OpenAI's for responses; or that of
// SGLang's reason to finish.
func (s *scanner) typed(root bool, inside key) {
	if inside == keyFinish && (s.is("abort") || s.is("error")) {
		s.failed = true
	}
	if !root || s.n > maxWord {
		return
	}
	switch string(s.word[:s.n]) {
	case "error", "response.failed":
		s.failed = true
	case "message_stop", "response.completed", "response.incomplete":
		s.finished = true
	case "ping", "message_start", "response.created", "response.in_progress", "response.queued":
		s.began = true
	}
}

func (s *scanner) tokens(of key) {
	n, ok := s.number()
	switch {
	case !ok:
	case of == keyInput:
		s.input, s.hasInput = n, true
	default:
		s.output, s.hasOutput = n, true
	}
}

func (s *scanner) is(word string) bool { return s.n <= maxWord && string(s.word[:s.n]) == word }

// number reads a count. One with a sign, a fraction or an exponent is none.
func (s *scanner) number() (n int, ok bool) {
	if s.n > 12 {
		return 0, false
	}
	for _, c := range s.word[:s.n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, s.n > 0
}
