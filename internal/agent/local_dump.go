package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// HostDump is a look that root takes by himself at a process of this host: no
// scenario says so, and no service need list the process.
type HostDump struct {
	PID     int              `json:"pid"`
	Program string           `json:"program"` // as it is called
	Count   int              `json:"count"`
	Reason  string           `json:"reason"`
	Actor   string           `json:"actor"`             // see Invoker
	Outcome protocol.Outcome `json:"outcome,omitempty"` // "" = it is about to begin
	Detail  string           `json:"detail,omitempty"`  // of the outcome
	Service string           `json:"service,omitempty"` // the listed one that the process belongs to: the answer's
}

// RecordDump makes a look durable in the ledger, before it begins and once it
// has ended; what is not recorded is not begun. CodeNotFound where there is no
// such process before it begins, CodeReason, CodeInvalid, CodeDiskFull.
func (a *Agent) RecordDump(ctx context.Context, d HostDump) (HostDump, error) {
	if a.cfg.Local == nil {
		return d, restart.Errorf(restart.CodeUnavailable, "this agent keeps no records of its own, and takes no work on the host")
	}
	var err error
	if d.Reason, err = restart.CheckReason(d.Reason); err != nil {
		return d, err
	}
	service, err := a.serviceOf(d.PID)
	if err != nil && (d.Outcome == "" || restart.CodeOf(err) != restart.CodeNotFound) {
		return d, err
	}
	d.Service = service
	if err := a.take(ctx); err != nil {
		return d, err
	}
	defer a.give()
	detail := fmt.Sprintf("process %d, %s: %d dumps", d.PID, d.Program, d.Count)
	if d.Detail != "" {
		detail += "; " + d.Detail
	}
	if detail = restart.Escape(detail); len(detail) > mostDetail {
		detail = strings.ToValidUTF8(detail[:mostDetail], "") + "…"
	}
	r := audit.Record{
		Time: a.cfg.Now().UTC(), Actor: d.Actor, Origin: localOrigin, Action: audit.DumpTaken, Host: a.cfg.Host.Name, Service: d.Service,
		Reason: d.Reason, Outcome: string(d.Outcome), Detail: detail,
	}
	if err := a.cfg.Local.Ledger.Append(r); err != nil {
		return d, diskFull(err)
	}
	if d.Outcome == "" {
		a.cfg.Logger.Warn("root takes dumps of a process", "pid", d.PID, "service", d.Service, "actor", restart.Escape(d.Actor), "reason", d.Reason)
	}
	return d, nil
}
