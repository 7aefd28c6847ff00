package server

import (
	"context"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/version"
)

// self tells admins of this process: it is a control.Server.
type self struct{ s *Server }

func (x self) Rules() control.RulesState {
	now := x.s.rules.state()
	return control.RulesState{File: x.s.cfg.Rules, Text: string(now.text), Digest: now.rules.Digest(), Loaded: now.loaded, Refused: now.refused}
}

func (x self) Trail(ctx context.Context) (audit.Stats, error) { return x.s.trail.Stats(ctx) }

func (x self) Facts() control.ServerFacts {
	cfg := x.s.cfg
	facts := control.ServerFacts{
		Name: cfg.Name, Version: version.Current().Told(), Database: "PostgreSQL", Started: x.s.opened, Require: string(x.s.trail.Standing().Level), NoRemoteLog: x.s.noRemoteLog(),
	}
	if cfg.Database.SQLite != "" {
		facts.Database = "SQLite, " + cfg.Database.SQLite
	}
	for _, sink := range cfg.Audit.Sinks {
		facts.Sinks = append(facts.Sinks, sink.Kind+" "+sink.Place())
	}
	return facts
}

func (x self) Configuration() (string, error) {
	text, err := x.s.cfg.Show()
	return string(text), err
}
