// Package table is what members tell each other about workers: who found what, in which
// incarnation, and as which of their findings. It is pure: no clocks, no sockets, no goroutines;
// beside the standard library it links package dynmesh and internal/text. Package gossip carries
// its messages, and the frontend concludes from what they say.
//
// An observation belongs to its observer, who signs it: what is not signed has no effect, whoever
// sends it. Members hold observations in a [Table], whose merge is
// commutative, associative and idempotent: all members end with the same table, whatever the
// network loses, repeats or reorders.
//
// How the parts go together, for whoever carries messages:
//
//   - [Table.Observe], [Table.Withdraw] and [Table.Expire] are this member's own doings;
//     [Table.Merge] takes what others sent. Each returns [Changes]: what the reader of the table
//     wants to know, and the entries that others may not know yet.
//   - [BroadcastQueue.Add] takes those entries, and [BroadcastQueue.Packet] makes packets of them.
//     What a comparison of digests has brought goes to [BroadcastQueue.AddLow] instead.
//   - [Table.Digest] is 2 kB of any table. Of the buckets in which two members [Digest.Differ] each
//     tells the other what it has ([Table.Have]), and gets what it lacks ([Table.Missing]), both
//     over a reliable transport.
//   - [Table.Forget] drops what an observer said that is gone, [Table.Recall] lets it back in.
//
// No message refers to another one, and any part of a table may be merged at any time. wire.proto
// specifies the wire format.
package table
