package apitest

import (
	"context"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/control"
)

// Process stands for the process around Control: what it tells admins of itself
// is what a test says.
type Process struct {
	mu     sync.Mutex
	rules  control.RulesState
	stats  audit.Stats
	facts  control.ServerFacts
	config string
}

func newProcess() *Process {
	return &Process{
		rules: control.RulesState{Text: string(authz.Shipped), Digest: authz.Default().Digest(), Loaded: time.Now()},
		stats: audit.Stats{Source: "test", Sinks: []audit.SinkStats{{Name: "file", Level: audit.LevelSpool}}},
		facts: control.ServerFacts{Name: "test", Version: "0.1.0", Database: "SQLite", Started: time.Now(), Require: "spool", Sinks: []string{"file /var/log/trail.jsonl"}, NoRemoteLog: true},
	}
}

// Say changes what the process tells.
func (p *Process) Say(rules control.RulesState, stats audit.Stats, facts control.ServerFacts, config string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.stats, p.facts, p.config = rules, stats, facts, config
}

// Rules implements control.Server.
func (p *Process) Rules() control.RulesState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules
}

// Trail implements control.Server.
func (p *Process) Trail(context.Context) (audit.Stats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats, nil
}

// Facts implements control.Server.
func (p *Process) Facts() control.ServerFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.facts
}

// Configuration implements control.Server.
func (p *Process) Configuration() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config, nil
}
