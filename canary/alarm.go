package canary

// alarms is a heap of watched endpoints, the one that is to be woken first on top. See container/heap.
type alarms []*watched

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].wake < h[j].wake }

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *alarms) Push(x any) {
	w := x.(*watched)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *alarms) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return w
}
