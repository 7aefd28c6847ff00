package agent_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Each answer about a task says where the record of what servers asked stands,
// as far as a power cut would leave it: with the task, and without a refusal
// since, until something durable stands behind it.
func TestHeadOfWhatServersAsked(t *testing.T) {
	b := newBed(t)
	digest := b.script("true")
	r := b.start()
	first := r.do(digest)
	records := b.asked()
	if head := (protocol.ChainHead{Seq: 1, Hash: records[0].Hash}); first.Asked == nil || *first.Asked != head || first.Chain != nil {
		t.Errorf("%+v, the ledger's %+v; want %+v", first.Asked, first.Chain, head)
	}
	e := b.envelope(digest)
	e.Service = "nowhere"
	if _, err := r.put(b.seal(e), e.Task); restart.CodeOf(err) != restart.CodeUnknownService {
		t.Fatal(err)
	}
	if again, err := r.get(first.Task); err != nil || *again.Asked != *first.Asked {
		t.Errorf("after a refusal: %+v, %v", again.Asked, err)
	}
	if r.kill(); len(b.asked()) != 2 {
		t.Fatalf("%v", b.asked())
	}
	r = b.start() // which makes durable what it finds
	if again, err := r.get(first.Task); err != nil || again.Asked == nil || again.Asked.Seq != 2 || again.Asked.Hash != b.asked()[1].Hash {
		t.Errorf("after a start: %+v, %v", again.Asked, err)
	}
	if second := r.do(digest); second.Asked.Seq != 3 || second.Asked.Hash != b.asked()[2].Hash {
		t.Errorf("the next task: %+v", second.Asked)
	}
}
