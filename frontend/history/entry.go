package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Subject says what an entry is about: one instance; a cause that several failures have; or, where
// it is zero, the frontend itself.
type Subject struct {
	Endpoint string // dyn://namespace.component.endpoint
	ID       dynmesh.InstanceID
}

const causePrefix = "cause:" // no endpoint's name begins so

// OfCause is the subject of a cause, such as host=h7.
func OfCause(name string) Subject { return Subject{Endpoint: causePrefix + name} }

// Cause returns the name of the cause that the subject is.
func (s Subject) Cause() (name string, is bool) { return strings.CutPrefix(s.Endpoint, causePrefix) }

func (s Subject) isInstance() bool {
	_, cause := s.Cause()
	return s != (Subject{}) && !cause
}

// Entry is one change, or how something stood from then on.
type Entry struct {
	Subject
	At time.Time // to the millisecond

	// From and To are empty where it was not shown, or is not any longer. A cause is [mesh.Named].
	From, To dynmesh.VerdictState

	// Carried says that nobody is told of it as a change: a run began with it, or the verdict is
	// what it was, and what else is known of the instance is not.
	Carried bool

	// Data is the instance as /mesh had it then, but for Changes; a cause, as /mesh had it or had it
	// last; of the frontend itself, what stands around the instances. Empty of an instance where To
	// is.
	Data json.RawMessage `json:",omitempty"`

	number uint64 // of what is queued: they rise
}

// weight is what an entry takes in memory, in bytes.
func weight(e Entry) int { return len(e.Data) + len(e.Endpoint) + 100 }

// told counts those of which people are told as changes.
func told(entries []Entry) (n uint64) {
	for _, e := range entries {
		if !e.Carried {
			n++
		}
	}
	return n
}

// entriesOf has all of a picture as entries.
func entriesOf(p Picture) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if !yield(Entry{Data: p.About()}) {
			return
		}
		for subject, data := range p.Each() {
			e := Entry{Subject: subject, Data: data}
			if _, is := subject.Cause(); is {
				e.To = mesh.Named
			}
			if len(subject.Endpoint) <= maxName && slim(&e) && !yield(e) {
				return
			}
		}
	}
}

// slim takes out of an entry what the history itself has, and fills in its state. It says whether
// the entry can be kept.
func slim(e *Entry) bool {
	if len(e.Data) == 0 {
		return e.To == ""
	}
	if !e.isInstance() {
		return true
	}
	var i mesh.Instance
	if json.Unmarshal(e.Data, &i) != nil {
		return false
	}
	i.Changes = []mesh.Change{}
	if e.To == "" {
		e.To = i.Verdict
	}
	e.Data = text.JSON(i)
	return true
}

// fit returns the entries that can be kept, as they are kept.
func fit(queue []Entry) []Entry {
	entries := make([]Entry, 0, len(queue)+1)
	for _, e := range queue {
		if len(e.Endpoint) <= maxName && slim(&e) {
			entries = append(entries, e)
		}
	}
	return entries
}

// words are the states that a header can hold. Files have them by number: new ones are added at the
// end.
func words() []dynmesh.VerdictState {
	return []dynmesh.VerdictState{"", dynmesh.Ready, dynmesh.NotReady, dynmesh.Unreachable, dynmesh.Draining, mesh.Named}
}

const otherWord = 0x3f // one that is not among them: only Data has it

func numberOf(word dynmesh.VerdictState) byte {
	if n := slices.Index(words(), word); n >= 0 {
		return byte(n)
	}
	return otherWord
}

func wordOf(n byte) dynmesh.VerdictState {
	if int(n) < len(words()) {
		return words()[n]
	}
	return "other"
}

// head is what of an entry is read without its Data.
type head struct {
	at       int64 // unix milliseconds
	from, to byte
	carried  bool
}

func headOf(e Entry) head {
	return head{at: e.At.UnixMilli(), from: numberOf(e.From), to: numberOf(e.To), carried: e.Carried}
}

// A block is entries of one subject, in order of time:
//
//	version (1) · count (2)
//	count × [ time (8) · from (1), with 0x80 where carried · to (1) ]
//	zstd of the Data, a line each
//	CRC-32C of all before it (4)
const (
	blockVersion = 1
	blockPrefix  = 3
	headSize     = 10
	sumSize      = 4
	carriedBit   = 0x80
)

var errBlock = errors.New("a block is damaged")

// coder makes blocks and reads them. It may be used by any goroutine.
type coder struct {
	to   *zstd.Encoder
	from *zstd.Decoder
}

const maxBlock = 64 << 20 // bytes of one block's Data

func newCoder() (*coder, error) {
	// One at a time, with little memory: the writer is one goroutine, and blocks are small.
	to, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<18), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	from, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return &coder{to, from}, nil
}

func (c *coder) close() {
	_ = c.to.Close()
	c.from.Close()
}

// table says how a CRC is made.
func table() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encode makes a block. Data must have no line ends, as what encoding/json writes.
func (c *coder) encode(heads []head, data [][]byte) []byte {
	b := make([]byte, 0, blockPrefix+headSize*len(heads)+256)
	b = append(b, blockVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(heads)))
	for _, h := range heads {
		b = binary.BigEndian.AppendUint64(b, uint64(h.at))
		from := h.from
		if h.carried {
			from |= carriedBit
		}
		b = append(b, from, h.to)
	}
	b = c.to.EncodeAll(bytes.Join(data, []byte{'\n'}), b)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, table()))
}

// heads reads what stands before the Data. They are not checked: [coder.data] does.
func heads(block []byte) ([]head, error) {
	if len(block) < blockPrefix+sumSize || block[0] != blockVersion {
		return nil, errBlock
	}
	n := int(binary.BigEndian.Uint16(block[1:]))
	if n == 0 || len(block) < blockPrefix+n*headSize+sumSize {
		return nil, errBlock
	}
	all := make([]head, n)
	for i := range all {
		b := block[blockPrefix+i*headSize:]
		all[i] = head{at: int64(binary.BigEndian.Uint64(b)), from: b[8] &^ carriedBit, to: b[9], carried: b[8]&carriedBit != 0}
	}
	return all, nil
}

// data reads the Data of each entry of a block whose heads have been read.
func (c *coder) data(block []byte, n int) ([][]byte, error) {
	end := len(block) - sumSize
	if crc32.Checksum(block[:end], table()) != binary.BigEndian.Uint32(block[end:]) {
		return nil, errBlock
	}
	text, err := c.from.DecodeAll(block[blockPrefix+n*headSize:end], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	lines := bytes.Split(text, []byte{'\n'})
	if len(lines) != n {
		return nil, errBlock
	}
	return lines, nil
}

// block is a block as it stands in a file: it is good while the transaction is.
type block struct {
	number uint32
	heads  []head
	value  []byte
}

// blocks ranges over the blocks of some subjects, by subject and time. A block that cannot be read
// is passed over, and counted in skipped.
func (f *file) blocks(tx *bolt.Tx, of map[uint32]Subject, skipped *int) iter.Seq[block] {
	if f.torn.Load() {
		return blocksBetweenPages(tx, of, skipped, maxUnreadable)
	}
	return blocks(tx, of, skipped)
}

// blocks is [file.blocks] of a file whose pages can be read.
func blocks(tx *bolt.Tx, of map[uint32]Subject, skipped *int) iter.Seq[block] {
	return func(yield func(block) bool) {
		c := tx.Bucket(bucketEntries).Cursor()
		one := func(k, v []byte) bool {
			h, err := heads(v)
			if err != nil || len(k) != 12 {
				*skipped++
				return true
			}
			return yield(block{binary.BigEndian.Uint32(k), h, v})
		}
		if len(of) <= fewSubjects {
			for _, number := range slices.Sorted(maps.Keys(of)) {
				prefix := binary.BigEndian.AppendUint32(nil, number)
				for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
					if !one(k, v) {
						return
					}
				}
			}
			return
		}
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) >= 4 {
				if _, wanted := of[binary.BigEndian.Uint32(k)]; !wanted {
					continue
				}
			}
			if !one(k, v) {
				return
			}
		}
	}
}

// blocksBetweenPages is blocks where pages of the file cannot be read, which are passed over: what
// follows one is looked up subject by subject, since those on other pages are well. It takes twice
// as long, and ends where such pages have taken more than the most they may.
func blocksBetweenPages(tx *bolt.Tx, of map[uint32]Subject, skipped *int, most time.Duration) iter.Seq[block] {
	return func(yield func(block) bool) {
		w := walk{entries: tx.Bucket(bucketEntries), of: of, skipped: skipped, yield: yield}
		if len(of) > fewSubjects && w.walk(nil) {
			return
		}
		for _, number := range slices.Sorted(maps.Keys(of)) {
			prefix := binary.BigEndian.AppendUint32(nil, number)
			if len(w.last) >= len(prefix) && bytes.Compare(prefix, w.last[:len(prefix)]) < 0 {
				continue // it was there before the page
			}
			if w.took > most {
				return
			}
			if w.walk(prefix); w.enough {
				return
			}
		}
	}
}

// maxUnreadable is for how long a question waits for pages that cannot be read: a disk may try each
// for seconds, each time, and who writes waits for the question.
const maxUnreadable = 2 * time.Second

// walk ranges over blocks, in the order of their keys.
type walk struct {
	entries *bolt.Bucket
	of      map[uint32]Subject
	skipped *int
	yield   func(block) bool

	last   []byte        // key of the last that was read; nil: none was
	enough bool          // yield wants no more
	took   time.Duration // on pages that cannot be read
}

// walk goes through the blocks behind the last whose keys begin with a prefix. It returns false at
// a page that cannot be read.
func (w *walk) walk(prefix []byte) (whole bool) {
	c := w.entries.Cursor()
	move := func() (k, v []byte) { return c.Seek(prefix) }
	if bytes.HasPrefix(w.last, prefix) && w.last != nil {
		from := append(bytes.Clone(w.last), 0)
		move = func() (k, v []byte) { return c.Seek(from) }
	}
	for ; ; move = c.Next {
		var b block
		wanted, ended, readable := false, false, false
		began := time.Now()
		err := guarded(func() error {
			k, v := move()
			if ended = k == nil || !bytes.HasPrefix(k, prefix); ended {
				return nil
			}
			w.last = append(w.last[:0], k...)
			if len(k) >= 4 {
				b.number = binary.BigEndian.Uint32(k)
				if _, wanted = w.of[b.number]; !wanted {
					return nil
				}
			}
			h, err := heads(v)
			readable = err == nil && len(k) == 12
			b.heads, b.value = h, v
			return nil
		})
		switch {
		case err != nil:
			*w.skipped++
			w.took += time.Since(began)
			return false
		case ended:
			return true
		case len(w.last) >= 4 && !wanted:
		case !readable:
			*w.skipped++
		case !w.yield(b):
			w.enough = true
			return true
		}
	}
}

// fewSubjects is up to how many are looked up one by one: more are found sooner by going through
// all.
const fewSubjects = 64
