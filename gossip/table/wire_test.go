package table_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

func unknownField(n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v)
}

// golden is version 2. These bytes are sent by members that will not be updated at the same time:
// when a test that uses them fails, the code is wrong, not the bytes.
const golden = "0201" + // version 2, a batch
	"0a1b" + "0a0664796e616d6f" + "12076261636b656e64" + "1a0867656e6572617465" + // dynamo.backend.generate
	"12e903" + "094beb8dff909b4d69" + "1080a0f1c2b134" + "1800" + // a life: ID, epoch, floor
	"2251" + "1801" + "2002" + "2804" + "3801" + "58fba0f1c2b134" + // 1: pass, process, draining, at
	"6240" + "56f4d6d5d6a2246e56f4d6d5d6a2246e56f4d6d5d6a2246e56f4d6d5d6a2246e" + "56f4d6d5d6a2246e56f4d6d5d6a2246e56f4d6d5d6a2246e56f4d6d5d6a2246e" + // signed
	"2270" + "0801" + "1802" + "2003" + "2801" + "3001" + "4002" + // 2: the endpoint, fail, canary, ready, frozen
	"4a166e6f7468696e672061667465722033206368756e6b73" + "50d209" + "58fba0f1c2b134" + // detail, latency, at
	"6240" + "ef1f28b7db0285b5ef1f28b7db0285b5ef1f28b7db0285b5ef1f28b7db0285b5" + "ef1f28b7db0285b5ef1f28b7db0285b5ef1f28b7db0285b5ef1f28b7db0285b5" +
	"225d" + "0801" + "110900000000000000" + "1803" + "2002" + "2803" + "50e807" + "58fba0f1c2b134" + // 3: of another, path
	"6240" + "83ce69b4e7966d7983ce69b4e7966d7983ce69b4e7966d7983ce69b4e7966d79" + "83ce69b4e7966d7983ce69b4e7966d7983ce69b4e7966d7983ce69b4e7966d79" +
	"224d" + "110a00000000000000" + "1805" + // 5: withdrawn
	"6240" + "8e65a700dd726ac58e65a700dd726ac58e65a700dd726ac58e65a700dd726ac5" + "8e65a700dd726ac58e65a700dd726ac58e65a700dd726ac58e65a700dd726ac5" +
	"2a20" + "4beb8dff909b4d69" + "000000000000000000000000000000000000000000000000" + "3240" + "7f2d0492df140ed37f2d0492df140ed37f2d0492df140ed37f2d0492df140ed3" + "7f2d0492df140ed37f2d0492df140ed37f2d0492df140ed37f2d0492df140ed3" + // key, and the floor's signature
	"1271" + "090700000000000000" + "1001" + "1803" + // another life, with a floor
	"2a20" + "0700000000000000" + "000000000000000000000000000000000000000000000000" + "3240" + "33875e3fb8a269a333875e3fb8a269a333875e3fb8a269a333875e3fb8a269a3" + "33875e3fb8a269a333875e3fb8a269a333875e3fb8a269a333875e3fb8a269a3"

func goldenTable(t testing.TB) *table.Table {
	tb := newTable(dynmesh.Observer{ID: 0x694d9b90ff8deb4b, Epoch: 1_800_000_000_000})
	at := time.UnixMilli(1_800_000_000_123)
	s := dynmesh.Subject{ID: 0x694d9b90ff8deb4b, Endpoint: generate}
	mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: 0x694d9b90ff8deb4b}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true, At: at})
	mustObserve(t, tb, dynmesh.Report{Subject: s, Kind: dynmesh.KindCanary, Finding: dynmesh.Fail, Ready: true, Reason: dynmesh.ReasonFrozen,
		Detail: "nothing after 3 chunks", Latency: 1234567 * time.Nanosecond, At: at})
	mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: 9, Endpoint: generate}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass, Latency: time.Millisecond, At: at})
	mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: 10}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass, At: at})
	tb.Withdraw(dynmesh.Subject{ID: 10})
	mustMerge(t, tb, table.Pack([]table.Entry{table.Crafted(dynmesh.Observer{ID: 7, Epoch: 1}, 3, dynmesh.Subject{}, 0, nil)}, 100)...)
	return tb
}

func TestGolden(t *testing.T) {
	tb := goldenTable(t)
	sent := everything(tb)
	var all []table.Entry
	for _, m := range sent {
		all = append(all, mustMerge(t, newTable(reader), m).Entries...)
	}
	slices.SortFunc(all, func(a, b table.Entry) int {
		return cmp.Or(-cmp.Compare(a.Key().Observer.ID, b.Key().Observer.ID), bytes.Compare(a.Raw(), b.Raw()))
	})
	if got := hex.EncodeToString(table.Pack(all, 1000)[0]); got != golden {
		t.Errorf("sent\n%s\nwant\n%s", got, golden)
	}
	message, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := merged(t, [][]byte{message}); !equal(got, merged(t, sent)) {
		t.Errorf("read %v", standing(got))
	}
}

// Members compare hashes, so they too are part of the version.
func TestGoldenDigest(t *testing.T) {
	d := goldenTable(t).Digest()
	for i, h := range d {
		if h != map[int]uint64{8: 0x8af561d24699f31b, 205: 0xf6271b3fde33dd77}[i] {
			t.Errorf("bucket %d is %x", i, h)
		}
	}
	back, err := table.ParseDigest(d.Message())
	if err != nil || back != d || len(d.Message()) != 2053 {
		t.Errorf("as a message of %d bytes it is not the same: %v", len(d.Message()), err)
	}
}

// A relay that knows nothing of a field passes it on as it came, wherever the author put it.
func TestFieldOfALaterVersionSurvivesRelays(t *testing.T) {
	o := dynmesh.Observer{ID: 7, Epoch: 1}
	s := dynmesh.Subject{ID: 8, Endpoint: generate}
	known := table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
	later := unknownField(77, []byte("zone-b"))
	for name, raw := range map[string][]byte{
		"behind":                       bytes.Join([][]byte{known, later}, nil),
		"in front":                     bytes.Join([][]byte{later, known}, nil),
		"between":                      bytes.Join([][]byte{known[:2], later, known[2:]}, nil),
		"an old field of another type": bytes.Join([][]byte{known, unknownField(1, []byte("x")), unknownField(4, []byte("y"))}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			crafted := table.Crafted(o, 0, s, 1, raw)
			first, raw := table.Pack([]table.Entry{crafted}, table.MaxPacket), crafted.Raw()
			relay := newTable(reader)
			got := mustMerge(t, relay, first...)
			if len(got.Entries) != 1 || !bytes.Equal(got.Entries[0].Raw(), raw) || got.Entries[0].Key().Subject != s {
				t.Fatalf("the relay keeps %x, want %x", got.Entries, raw)
			}
			var d table.BroadcastQueue
			d.Add(got.Entries...)
			for how, sent := range map[string][][]byte{"by packet": d.Packet(0, 1200, 5), "by bucket": everything(relay)} {
				got := mustMerge(t, newTable(dynmesh.Observer{ID: 99, Epoch: 1}), sent...)
				if len(got.Set) != 1 || !bytes.Equal(got.Entries[len(got.Entries)-1].Raw(), raw) && !bytes.Equal(got.Entries[0].Raw(), raw) {
					t.Errorf("%s: %x came, want %x", how, got.Entries, raw)
				}
			}
		})
	}
}

// Whatever order the fields have, and wherever what an entry refers to stands, it is the same
// message.
func TestAnyOrderOfFields(t *testing.T) {
	author := dynmesh.Observer{ID: 7}
	known := table.Crafted(author, 0, dynmesh.Subject{ID: 8, Endpoint: generate}, 1, table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass})).Raw()
	endpoint := []byte{8, 1}
	subject := protowire.AppendFixed64(protowire.AppendTag(nil, 2, protowire.Fixed64Type), 8)
	life := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 7)
	name := unknownField(1, bytes.Join([][]byte{unknownField(3, []byte("generate")), unknownField(2, []byte("backend")), unknownField(1, []byte("dynamo"))}, nil))
	var want *table.Table
	for i, entry := range [][][]byte{
		{endpoint, subject, known}, {known, endpoint, subject}, {endpoint, known, subject}, {known[:2], subject, known[2:], endpoint},
		{endpoint, subject, endpoint, known[:4], subject, known[4:]},
	} {
		body := unknownField(2, slices.Concat(unknownField(5, table.TestKeys(7).Public()), unknownField(4, bytes.Join(entry, nil)), life))
		for _, message := range [][]byte{bytes.Join([][]byte{{table.Version, 1}, name, body}, nil), bytes.Join([][]byte{{table.Version, 1}, body, name}, nil)} {
			got := merged(t, [][]byte{message})
			if _, ok := got.Get(7, dynmesh.Subject{ID: 8, Endpoint: generate}); !ok {
				t.Fatalf("order %d: read %v", i, standing(got))
			}
			if want == nil {
				want = got
			}
			if !equal(got, want) {
				t.Errorf("order %d: another table", i)
			}
		}
	}
}

func TestWhatIsNotUnderstoodIsNamed(t *testing.T) {
	o := dynmesh.Observer{ID: 7, Epoch: 1}
	raw := bytes.Join([][]byte{{0x18, 1}, {0x20, 99}, {0x28, 4}, {0x40, 98}}, nil)
	tb := merged(t, table.Pack([]table.Entry{table.Crafted(o, 0, dynmesh.Subject{ID: 7}, 1, raw)}, 1000))
	got, ok := tb.Get(7, dynmesh.Subject{ID: 7})
	if !ok || got.Finding != table.UnknownFinding || got.Reason != table.UnknownReason || got.Kind != dynmesh.KindProcess {
		t.Errorf("read %+v", got)
	}
	raw = []byte{0x18, 1, 0x20, 2, 0x28, 0x81, 2} // kind 257, whose last byte is Canary's
	tb = merged(t, table.Pack([]table.Entry{table.Crafted(o, 0, dynmesh.Subject{ID: 8}, 1, raw)}, 1000))
	if got, ok := tb.Get(7, dynmesh.Subject{ID: 8}); !ok || got.Kind.String() != "unknown" {
		t.Errorf("read %+v", got)
	}
}

// The numbers of wire.proto.
func TestNumbers(t *testing.T) {
	for i, f := range []dynmesh.Finding{dynmesh.Unchecked, dynmesh.Pass, dynmesh.Fail, dynmesh.Busy, dynmesh.Stalled} {
		want := []byte{0x18, 1, 0x20, byte(i + 1), 0x28, 1}
		if got := table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindCanary, Finding: f}); !bytes.Equal(got, want) {
			t.Errorf("%s is written as %x, want %x", f, got, want)
		}
	}
	for i, r := range []dynmesh.Reason{dynmesh.ReasonTimeout, dynmesh.ReasonFrozen, dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonStatus, dynmesh.ReasonErrorChunk, dynmesh.ReasonError,
		dynmesh.ReasonPanic, dynmesh.ReasonEmpty, dynmesh.ReasonMalformed, dynmesh.ReasonOversized, dynmesh.ReasonCut, dynmesh.ReasonCanceled,
		dynmesh.ReasonBusy, dynmesh.ReasonUnexpected, dynmesh.ReasonAsleep} {
		want := []byte{0x18, 1, 0x20, 3, 0x28, 3, 0x40, byte(i + 1)}
		if got := table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: r}); !bytes.Equal(got, want) {
			t.Errorf("%s is written as %x, want %x", r, got, want)
		}
	}
}

func TestBadMessages(t *testing.T) {
	good := everything(goldenTable(t))[0]
	tb := newTable(reader)
	mustMerge(t, tb, good)
	before := tb.Digest()
	for name, c := range map[string]struct {
		message []byte
		want    error
	}{
		"empty":                     {nil, table.ErrMalformed},
		"one byte":                  {[]byte{table.Version}, table.ErrMalformed},
		"another version":           {[]byte{1, 1}, table.ErrVersion},
		"another type":              {[]byte{table.Version, 16}, table.ErrType},
		"a digest":                  {before.Message(), table.ErrType},
		"too long":                  {append([]byte{table.Version, 1}, unknownField(99, make([]byte, table.MaxMessage))...), table.ErrMalformed},
		"garbage":                   {[]byte{table.Version, 1, 0xff, 0xff, 0xff}, table.ErrMalformed},
		"an observer without ID":    {append([]byte{table.Version, 1}, unknownField(2, nil)...), table.ErrMalformed},
		"an endpoint that is not":   {append([]byte{table.Version, 1}, unknownField(2, append(protowire.AppendFixed64([]byte{9}, 3), unknownField(4, []byte{8, 1, 0x18, 1})...))...), table.ErrMalformed},
		"a name without end":        {append([]byte{table.Version, 1}, unknownField(1, unknownField(1, make([]byte, table.MaxName+1)))...), table.ErrMalformed},
		"good, and then cut":        {good[:len(good)-1], table.ErrMalformed},
		"later life, and then junk": {append(table.Pack([]table.Entry{table.Crafted(dynmesh.Observer{ID: 0x694d9b90ff8deb4b, Epoch: 1 << 60}, 0, dynmesh.Subject{}, 0, nil)}, 100)[0], 0xff), table.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tb.Merge(c.message)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if tb.Digest() != before || len(got.Set)+len(got.Withdrawn)+len(got.Entries) > 0 {
				t.Error("it had an effect")
			}
		})
	}
}

// Names that others put into etcd are bytes.
func TestOddNames(t *testing.T) {
	for _, e := range []dynmesh.Endpoint{
		{Namespace: "\xff\x00", Component: "a.b/c", Name: "\n"}, {Name: "x"}, {Namespace: "x"}, {Component: strings.Repeat("ü", 300)},
		{Namespace: strings.Repeat("n", table.MaxName)},
	} {
		tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
		f := dynmesh.Report{Subject: dynmesh.Subject{ID: 8, Endpoint: e}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass}
		c := mustObserve(t, tb, f)
		var d table.BroadcastQueue
		d.Add(c.Entries...)
		got := mustMerge(t, newTable(reader), append(d.Packet(0, 1200, 3), d.Oversized()...)...)
		if len(got.Set) != 1 || got.Set[0].Subject != f.Subject {
			t.Errorf("%q became %+v", e, got.Set)
		}
	}
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	_, err := tb.Observe(dynmesh.Report{Subject: dynmesh.Subject{ID: 8, Endpoint: dynmesh.Endpoint{Name: strings.Repeat("n", table.MaxName+1)}},
		Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
	if err == nil {
		t.Error("a name that no other member accepts was accepted")
	}
}

// Every finding and reason has a number: one that is added there needs one here.
func TestAllFindingsAndReasonsHaveNumbers(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../finding.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		typ, _ := spec.Type.(*ast.Ident)
		lit, _ := spec.Values[0].(*ast.BasicLit)
		if typ == nil || lit == nil || lit.Kind != token.STRING {
			return true
		}
		word, _ := strconv.Unquote(lit.Value)
		f := dynmesh.Report{Subject: dynmesh.Subject{ID: 7}, Kind: dynmesh.KindCanary, Finding: dynmesh.Fail}
		switch typ.Name {
		case "Finding":
			f.Finding = dynmesh.Finding(word)
		case "Reason":
			f.Reason = dynmesh.Reason(word)
		default:
			return true
		}
		n++
		tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
		if c, err := tb.Observe(f); err != nil || len(c.Set) != 1 || c.Set[0].Report != f {
			t.Errorf("%s %q: %+v, %v", typ.Name, word, c.Set, err)
		}
		return true
	})
	if n < 18 {
		t.Errorf("found %d words, there are 18 at least", n)
	}
}
