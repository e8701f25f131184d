// Package observation is what members tell each other about workers: who found what, in which life, as which of their
// findings. It is pure: no clocks, no sockets, no goroutines. Package gossip carries it, and the frontend concludes from it.
//
// An observation belongs to its observer. Members hold observations in a [Table], whose merge is commutative, associative
// and idempotent, so that all members end with the same table, whatever order, loss and repetition the network has for them.
//
// How the parts go together, for whoever carries messages:
//
//   - [Table.Observe], [Table.Withdraw] and [Table.Expire] are this member's own doings; [Table.Merge] takes what others sent.
//     Each returns [Changes]: what the reader of the table wants to know, and the entries that others may not know yet.
//   - [Dirty.Mark] takes those entries, and [Dirty.Take] makes packets of them. What came by a comparison of digests goes to
//     [Dirty.MarkLate] instead.
//   - [Table.Digest] is 2 kB of any table. Of the buckets in which two members [Digest.Differ] each sends the other its
//     [Table.Summary], and gets an [Table.Answer] with what it lacks; or, with a step less and more bytes, each sends the other
//     [Table.Bucket]. All that but the digest is for a reliable transport.
//   - [Table.Forget] drops what an observer said that is gone, [Table.Recall] lets it back in.
//
// No message contains a reference to another one, and any part of a table may be merged at any time. The wire format is
// specified in wire.proto.
package observation
