package audit

import (
	"strconv"
	"time"
)

// How large a host lets the file of what servers asked grow before it sets it
// aside, in bytes, and how many such it keeps: together some 200,000 tasks, or
// the refusals of three days of a flood of every kind.
const (
	AskedPart  = 8 << 20
	AskedParts = 16
)

// skew is how far a host's clock may be from a server's: an agent refuses tasks
// over more.
const skew = 30 * time.Second

// The params of a record of an outcome: where the host says that its chains
// stand. What was asked of the task is in the params of its intent.
const (
	askedSeq   = "asked_seq"
	askedHash  = "asked_hash"
	ledgerSeq  = "ledger_seq"
	ledgerHash = "ledger_hash"
)

// HostHeads gives the params of a record of what a host has said of a task:
// where its two chains stood then, the one of what servers asked and the one of
// what root has begun there. A zero head is left out; with neither it is nil.
func HostHeads(asked, ledger Head) map[string]string {
	var params map[string]string
	add := func(seq, hash string, h Head) {
		if h.Seq == 0 && h.Hash == "" {
			return
		}
		if params == nil {
			params = map[string]string{}
		}
		params[seq], params[hash] = strconv.FormatInt(h.Seq, 10), shorten(h.Hash, maxText)
	}
	add(askedSeq, askedHash, asked)
	add(ledgerSeq, ledgerHash, ledger)
	return params
}

// heads reads what HostHeads has made. A number that is none is -1: no record
// has it.
func (r *Record) heads() []Head {
	var found []Head
	for _, n := range []struct{ source, seq, hash string }{
		{AgentSource + r.Host + AskedSource, askedSeq, askedHash}, {AgentSource + r.Host, ledgerSeq, ledgerHash},
	} {
		text, ok := r.Params[n.seq]
		if !ok {
			continue
		}
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			seq = -1
		}
		found = append(found, Head{Source: n.source, Seq: seq, Hash: r.Params[n.hash]})
	}
	return found
}
