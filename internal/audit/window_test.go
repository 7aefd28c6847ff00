package audit

import "testing"

func TestWindowForgetsTheOldest(t *testing.T) {
	w := newWindow(3)
	for seq := int64(1); seq <= 10; seq++ {
		w.add(&Record{Epoch: 1, Seq: seq})
		w.add(&Record{Epoch: 1, Seq: seq}) // again costs no room
		for old := int64(1); old <= seq; old++ {
			if _, ok := w.get(place{1, old}); ok != (old > seq-3) {
				t.Errorf("after record %d, record %d is remembered: %t", seq, old, ok)
			}
		}
		if f := (&File{recent: w}); f.covers(place{1, max(seq-2, 1)}) != true || f.covers(place{1, seq - 3}) {
			t.Errorf("after record %d: the oldest is taken for another", seq)
		}
	}
	if len(w.links) != 3 || len(w.order) != 3 {
		t.Errorf("%d links, %d places are kept", len(w.links), len(w.order))
	}
}

func TestWindowsShareWhatIsSpare(t *testing.T) {
	spare := 100
	one, two := newSharedWindow(1000, &spare), newSharedWindow(1000, &spare)
	for seq := int64(1); seq <= 2000; seq++ {
		one.add(&Record{Epoch: 1, Seq: seq})
		two.add(&Record{Epoch: 1, Seq: seq})
	}
	if len(one.links)+len(two.links) != 2*smallWindow+100 || spare != 0 || len(one.links) != len(one.order) {
		t.Errorf("%d and %d links are kept, %d are spare", len(one.links), len(two.links), spare)
	}
	if _, ok := two.get(place{1, 2000 - smallWindow + 1}); !ok {
		t.Error("a small window forgets too early")
	}
}
