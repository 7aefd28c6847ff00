package hostwork

import (
	"context"
	"fmt"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// follow checks that a host's chain goes on behind the head that was seen, and
// notes the new one. A chain that does not is noted too, in the audit trail, and
// is followed from where it says that it stands. It tells whether the head moved.
func (k *Keeper) follow(ctx context.Context, host restart.Host, head protocol.ChainHead, report protocol.LocalReport) (moved bool, err error) {
	to, broken := walk(host.Name, head, report)
	if broken == "" {
		if to == head {
			return false, nil
		}
		return true, k.cfg.Store.MoveLocalHead(ctx, host.Name, head, to)
	}
	claimed := protocol.ChainHead{Seq: max(report.Head.Seq, 0), Hash: restart.Escape(report.Head.Hash)}
	if len(claimed.Hash) > 128 {
		claimed.Hash = claimed.Hash[:128]
	}
	k.cfg.Logger.Warn("the host's own records are not those that were seen before", "host", host.Name, "why", broken)
	err = k.cfg.Store.MoveLocalHead(ctx, host.Name, head, claimed, audit.Record{
		Time: k.now(), Actor: "server:" + k.cfg.Server, Origin: origin, Action: audit.HostChainBroken, Host: host.Name,
		Detail: fmt.Sprintf("%s; seen before: record %d %s; it says now: record %d %s", broken, head.Seq, head.Hash, claimed.Seq, claimed.Hash),
	})
	k.cfg.Committed()
	return true, err
}

// walk follows the records behind head. broken says where they don't fit; ""
// = they do, as far as the answer goes.
func walk(host string, head protocol.ChainHead, report protocol.LocalReport) (to protocol.ChainHead, broken string) {
	to = head
	if len(report.Records) > protocol.MaxLocalRecords {
		return to, fmt.Sprintf("it sent %d records at once", len(report.Records))
	}
	for _, raw := range report.Records {
		r, err := audit.Decode(raw)
		switch {
		case err != nil:
			return to, fmt.Sprintf("what should be record %d is none: %v", to.Seq+1, err)
		case !r.Intact():
			return to, fmt.Sprintf("record %d was changed", r.Seq)
		case r.Source != audit.AgentSource+host || r.Host != host:
			return to, fmt.Sprintf("record %d is of %s, host %s", r.Seq, restart.Quote(r.Source), restart.Quote(r.Host))
		case r.Seq != to.Seq+1:
			return to, fmt.Sprintf("record %d comes behind record %d", r.Seq, to.Seq)
		case r.PrevHash != to.Hash:
			return to, fmt.Sprintf("record %d does not follow the one that was seen before it", r.Seq)
		}
		to = protocol.ChainHead{Seq: r.Seq, Hash: r.Hash}
	}
	switch {
	case report.Head.Seq < to.Seq:
		return to, "it has fewer records than were seen"
	case report.Head.Seq == to.Seq && report.Head.Hash != to.Hash:
		return to, fmt.Sprintf("record %d is another than was seen", to.Seq)
	case report.Head.Seq > to.Seq && len(report.Records) == 0:
		return to, fmt.Sprintf("it says that it has %d records, and sends none behind %d", report.Head.Seq, to.Seq)
	}
	return to, ""
}
