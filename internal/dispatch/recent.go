package dispatch

import "container/list"

// keptOpen is to how many hosts connections are kept while nothing is asked of
// them. Each costs about 60 KB here, so that a run over 10,000 hosts would hold
// 600 MB by connections that it needs no more; to make one again costs a
// millisecond.
const keptOpen = 512

// atOnce bounds the handshakes in hand.
const atOnce = 64

// recent orders hosts by their last use. It is not safe for concurrent use.
type recent struct {
	order list.List // of keys, the last used in front
	at    map[string]*list.Element
}

// use notes that a host is used, and gives the one that was used longest ago
// where that makes more than most; "" = none.
func (r *recent) use(key string, most int) (over string) {
	if r.at == nil {
		r.at = map[string]*list.Element{}
	}
	if e, ok := r.at[key]; ok {
		r.order.MoveToFront(e)
		return ""
	}
	r.at[key] = r.order.PushFront(key)
	if r.order.Len() <= most {
		return ""
	}
	over = r.order.Remove(r.order.Back()).(string)
	delete(r.at, over)
	return over
}
