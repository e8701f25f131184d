// Package identity is who a member is: a key that it makes when it starts, keeps in memory, and
// signs with whatever it says. It is for package gossip, and for those who start members. It is
// pure: no clocks, no sockets, no goroutines.
//
// A member's ID is made of its key ([IDOf]). So whoever hears a member knows whose word it is, with
// nothing but what the member sends: no registry has to be asked, and it makes no difference which
// one there is. That a member is also registered, and under the same key, is for the frontend to
// look at.
//
// An ID has 63 bits. To find a key that has the ID of a certain member takes 2^63 keys, and each of
// them [stretch] hashes; to find one that has the ID of any of n members takes an nth of that. It
// has to be found while the member lives: the next one has another ID.
package identity
