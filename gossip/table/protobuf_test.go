package table_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// batchDescriptor is Batch of wire.proto, as a compiler would have it.
func batchDescriptor(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	type field struct {
		name string
		typ  descriptorpb.FieldDescriptorProto_Type
		of   string // a message's name: many of it
	}
	const (
		number  = descriptorpb.FieldDescriptorProto_TYPE_UINT64
		fixed   = descriptorpb.FieldDescriptorProto_TYPE_FIXED64
		truth   = descriptorpb.FieldDescriptorProto_TYPE_BOOL
		octets  = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("wire.proto"), Package: proto.String("p"), Syntax: proto.String("proto3")}
	for _, m := range []struct {
		name   string
		fields []field
	}{
		{"Batch", []field{{"endpoints", message, "Endpoint"}, {"lives", message, "Life"}}},
		{"Endpoint", []field{{"namespace", octets, ""}, {"component", octets, ""}, {"name", octets, ""}}},
		{"Life", []field{{"id", fixed, ""}, {"epoch", number, ""}, {"floor", number, ""}, {"entries", message, "Entry"}, {"key", octets, ""}, {"signature", octets, ""}}},
		{"Entry", []field{{"endpoint", number, ""}, {"subject", fixed, ""}, {"seq", number, ""}, {"finding", number, ""}, {"kind", number, ""},
			{"ready", truth, ""}, {"draining", truth, ""}, {"reason", number, ""}, {"detail", text, ""}, {"latency_us", number, ""}, {"at_ms", number, ""}, {"signature", octets, ""}}},
	} {
		d := &descriptorpb.DescriptorProto{Name: proto.String(m.name)}
		for i, f := range m.fields {
			fd := &descriptorpb.FieldDescriptorProto{Name: proto.String(f.name), Number: proto.Int32(int32(i + 1)), Type: f.typ.Enum(),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			if f.of != "" {
				fd.TypeName, fd.Label = proto.String(".p."+f.of), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			}
			d.Field = append(d.Field, fd)
		}
		file.MessageType = append(file.MessageType, d)
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fd.Messages().ByName("Batch")
}

// What is written by hand is what protobuf itself reads, without anything that it does not know.
// The other way round it may put the fields of an entry in another order, which its author has not
// signed.
func TestProtobufReadsTheSame(t *testing.T) {
	tb := goldenTable(t)
	desc := batchDescriptor(t)
	for _, sent := range everything(tb) {
		m := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(sent[2:], m); err != nil {
			t.Fatal(err)
		}
		var check func(protoreflect.Message)
		check = func(m protoreflect.Message) {
			if len(m.GetUnknown()) > 0 {
				t.Errorf("%s: unknown %x", m.Descriptor().Name(), m.GetUnknown())
			}
			m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				for i := 0; f.IsList() && i < v.List().Len(); i++ {
					check(v.List().Get(i).Message())
				}
				return true
			})
		}
		check(m)
	}
}
