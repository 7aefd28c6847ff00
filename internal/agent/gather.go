package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// gatherAtOnce bounds the services whose evidence is taken at the same time.
const gatherAtOnce = 4

// Evidence takes the evidence of a reviewed scenario without any task, and
// gives a protocol.EvidenceReport as JSON. Nothing of it is kept here. Of one
// service one at a time is taken, as often in an hour as tasks are, and of few
// services at once: CodeBusy. What can't be recorded is not taken, and of each
// there is a record, so that the rate also bounds how fast a server can fill the
// host's own record.
func (a *Agent) Evidence(ctx context.Context, in protocol.EvidenceRequest) (io.ReadCloser, error) {
	if in.Service == "" || in.Digest == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "evidence is of a service, by a scenario's digest")
	}
	if err := checkNames(in.Service, in.Environment, in.Group, in.Project, "", in.Digest); err != nil {
		return nil, err
	}
	work, err := a.cfg.Host.Find(in.Service, in.Digest, in.Environment, in.Group, in.Project)
	if err != nil {
		return nil, err
	}
	if len(work.Scenario.Evidence) == 0 || a.cfg.Gather == nil {
		b, err := json.Marshal(protocol.EvidenceReport{Items: []protocol.EvidenceItem{}, TakenAt: a.cfg.Now().UTC()})
		return io.NopCloser(bytes.NewReader(b)), err
	}
	done, err := a.gather(in.Service)
	if err != nil {
		return nil, err
	}
	err = diskFull(a.recordAsked(audit.Record{
		Action: audit.EvidenceTaken, Service: in.Service, Environment: in.Environment, ScenarioDigest: in.Digest, Detail: "scenario " + work.Scenario.Name,
	}, (*ledger.Ledger).Note))
	if err != nil {
		done()
		return nil, err
	}
	a.countGathered(in.Service)
	report, err := a.cfg.Gather(ctx, work)
	if err != nil {
		done()
		return nil, err
	}
	return closing{report, done}, nil
}

// gather takes a place for the evidence of a service.
func (a *Agent) gather(service string) (done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gathering[service] {
		return nil, restart.Errorf(restart.CodeBusy, "the evidence of service %s is being taken on this host", service).WithHint("wait for that, at most %s", restart.Span(protocol.EvidenceTime))
	}
	if n := len(a.gathering); n >= gatherAtOnce {
		return nil, restart.Errorf(restart.CodeBusy, "the evidence of %d services is being taken on this host", n).WithHint("wait for that, at most %s", restart.Span(protocol.EvidenceTime))
	}
	recent := lastHour(a.gathered[service], a.cfg.Now())
	a.gathered[service] = recent
	if len(recent) >= a.cfg.RatePerHour {
		return nil, restart.Errorf(restart.CodeBusy, "this host has taken the evidence of service %s %d times within an hour, and takes no more", service, len(recent)).
			WithHint("wait, or raise task_rate_per_hour in the host's agent.yaml")
	}
	a.gathering[service] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.gathering, service)
	}, nil
}

func (a *Agent) countGathered(service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gathered[service] = append(a.gathered[service], a.cfg.Now())
}

// closing calls done once what it reads is closed.
type closing struct {
	io.ReadCloser
	done func()
}

func (c closing) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

func (a *Agent) serveEvidence(w http.ResponseWriter, r *http.Request) error {
	var in protocol.EvidenceRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	deadline(w, protocol.EvidenceTime+answerTime)
	report, err := a.Evidence(r.Context(), in)
	if err != nil {
		return err
	}
	defer report.Close()
	w.Header().Set("Content-Type", "application/json")
	if err := pieces(w, io.LimitReader(report, protocol.MaxEvidenceReport)); err != nil && r.Context().Err() == nil {
		a.cfg.Logger.Info("evidence broke off", "service", in.Service, "error", err)
	}
	return nil
}

// gatherGrace is how long a process that takes evidence has to end, once its
// time is over.
const gatherGrace = 2 * time.Second

// Gather gives what takes the evidence of a scenario in a process of its own,
// so that a dump never lies in the agent's memory.
func Gather(cgroup, name string, grace time.Duration) func(context.Context, host.Work) (io.ReadCloser, error) {
	return func(ctx context.Context, w host.Work) (io.ReadCloser, error) {
		ctx, cancel := context.WithTimeout(ctx, protocol.EvidenceTime)
		process, err := newHelper(ctx, supervisor.GatherVerb, supervisor.GatherOf(w, name, cgroup, grace), gatherGrace)
		var out io.ReadCloser
		if err == nil {
			out, err = process.StdoutPipe()
		}
		if err == nil {
			err = process.Start()
		}
		if err != nil {
			cancel()
			return nil, fmt.Errorf("take evidence: %w", err)
		}
		g := &gathered{Reader: bufio.NewReader(out), process: process, cancel: cancel}
		if _, err := g.Peek(1); err != nil { // it answers at the end, whole or not at all
			late := errors.Is(ctx.Err(), context.DeadlineExceeded)
			if ended := g.Close(); ended != nil {
				err = ended
			}
			if late {
				return nil, restart.Errorf(restart.CodeUnavailable, "the evidence was not taken within %s", restart.Span(protocol.EvidenceTime)).Because(err)
			}
			return nil, fmt.Errorf("take evidence: %w", process.explain(err))
		}
		return g, nil
	}
}

// gathered is the answer of a process that takes evidence.
type gathered struct {
	*bufio.Reader
	process *helper
	cancel  context.CancelFunc
}

func (g *gathered) Close() error {
	defer g.cancel()
	io.Copy(io.Discard, io.LimitReader(g.Reader, 1<<10)) //nolint:errcheck // mostly nothing is left; else it is ended
	g.cancel()
	return g.process.Wait()
}
