package discovery

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// history is what tells one store's life from another's: within one, none of the numbers ever goes back.
type history struct {
	cluster, term uint64
	revision      int64
}

func historyOf(h *pb.ResponseHeader) history {
	return history{cluster: h.ClusterId, term: h.RaftTerm, revision: h.Revision}
}

// contradicts says whether a store with this header cannot be a later state of the one seen before.
func (h history) contradicts(header *pb.ResponseHeader) bool {
	if h.cluster == 0 {
		return false // nothing was seen before
	}
	return header.ClusterId != h.cluster || header.Revision < h.revision || header.RaftTerm < h.term
}
