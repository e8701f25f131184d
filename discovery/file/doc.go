// Package file follows what Dynamo registers in a folder (its DYN_FILE_KV): workers on one
// machine, or on several with a file system between them. Programs that have such a folder make a
// [Source] with [New]. It only reads.
//
//	{root}/v1/instances/dynamo%2Fbackend%2Fgenerate%2F1d241219831293
//
// A file is an entry: its name is the key, in which each byte but letters and digits is escaped,
// and its content is the value that etcd would hold. Its time of modification is its lease: the
// owner touches it every 3.3 s, and an entry that nobody has touched for 10 s has ended, whether
// somebody deletes it or not.
//
// A folder that cannot be read is away. What it held stays listed, and owners have the whole time
// again once it is back. Times are compared with this machine's clock, but for a file that is seen
// to be touched: clocks that differ do not end a lease.
package file
