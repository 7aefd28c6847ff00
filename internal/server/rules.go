package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// rulesPoll is how often the file of rules is read, so that a change holds
// within two seconds.
const rulesPoll = time.Second

// ReadRules reads a file of rules; "" is the shipped ones. A file that everybody
// may write is refused: so everybody could do everything. So is one that names
// teams in upper case where people's groups come in lower case alone.
func ReadRules(path string, in SignInConfig) (*authz.Rules, error) {
	if path == "" {
		return authz.Default(), nil
	}
	b, err := readRulesFile(path)
	if err != nil {
		return nil, err
	}
	return parseRules(path, b, in)
}

func readRulesFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, restart.Errorf(restart.CodeInvalid, "%s is no file", path)
	case info.Mode().Perm()&0o002 != 0:
		return nil, restart.Errorf(restart.CodeInvalid, "%s can be written by everybody, who could so give himself every right", path).WithHint("chmod o-w %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, authz.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	return b, nil
}

func parseRules(path string, b []byte, in SignInConfig) (*authz.Rules, error) {
	rules, err := authz.Parse(path, b)
	if err == nil && in.lowerTeams() {
		err = rules.CheckLowerTeams()
	}
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return nil, restart.Errorf(e.Code, "%s: %s", path, e.Message).WithHint("%s", e.Hint)
	}
	if err != nil {
		return nil, err
	}
	return rules, nil
}

// rulesFile is the file of rules, read again and again. What becomes wrong in it
// leaves the rules in force that were good before.
type rulesFile struct {
	path string // "" = the shipped rules
	in   SignInConfig
	log  *slog.Logger

	mu   sync.Mutex
	now  rulesState
	last []byte // bytes of the file as it was read last, good or not
}

type rulesState struct {
	rules   *authz.Rules
	loaded  time.Time // when these were read
	refused string    // why the file as it is now can't be used; "" = it is in force
}

// openRules reads the rules for the first time: a server does not start without
// good ones.
func openRules(path string, in SignInConfig, log *slog.Logger) (*rulesFile, error) {
	f := &rulesFile{path: path, in: in, log: log, now: rulesState{rules: authz.Default(), loaded: time.Now()}}
	if path == "" {
		return f, nil
	}
	b, err := readRulesFile(path)
	if err != nil {
		return nil, err
	}
	f.last = b
	f.now.rules, err = parseRules(path, b, in)
	return f, err
}

// inForce gives the rules by which is decided now.
func (f *rulesFile) inForce() *authz.Rules { return f.state().rules }

func (f *rulesFile) state() rulesState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// look reads the file once, and takes it over where it has changed and is good.
// It gives what is to be recorded of it; nil = nothing.
func (f *rulesFile) look() *audit.Record {
	b, err := readRulesFile(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.now.refused == "" && bytes.Equal(b, f.last) {
		return nil
	}
	var rules *authz.Rules
	if err == nil {
		rules, err = parseRules(f.path, b, f.in)
	}
	if err != nil {
		return f.refuse(b, err)
	}
	f.last = b
	again := rules.Digest() == f.now.rules.Digest() // it was wrong for a while, and is as it was
	f.now = rulesState{rules: rules, loaded: time.Now()}
	f.log.Info("the rules of rights were read anew", "file", f.path, "digest", rules.Digest())
	rec := &audit.Record{Action: audit.RulesChanged, Detail: "sha256 " + rules.Digest()}
	if again {
		rec.Detail += ", as before"
	}
	return rec
}

// refuse keeps the rules that hold, and says once why the file can't be used.
func (f *rulesFile) refuse(b []byte, err error) *audit.Record {
	why := err.Error()
	if f.now.refused == why && bytes.Equal(b, f.last) {
		return nil
	}
	f.last, f.now.refused = b, why
	f.log.Error("the file of rules can't be used; those before it hold", "file", f.path, "in_force", f.now.rules.Digest(), "error", err)
	digest := "no file"
	if b != nil {
		sum := sha256.Sum256(b)
		digest = "sha256 " + hex.EncodeToString(sum[:])
	}
	return &audit.Record{
		Action: audit.RulesRefused, Outcome: string(restart.CodeInvalid),
		Detail: digest + ": " + why + "; in force: sha256 " + f.now.rules.Digest(),
	}
}

// watchRules looks at the file until ctx ends. Which rules hold at the start is
// recorded as well, for they may have changed while no server ran.
func (s *Server) watchRules(ctx context.Context) {
	if s.cfg.Rules == "" {
		return
	}
	s.recordRules(ctx, &audit.Record{Action: audit.RulesChanged, Detail: "sha256 " + s.rules.inForce().Digest() + ", at the start"})
	tick := time.NewTicker(rulesPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.recordRules(ctx, s.rules.look())
		}
	}
}

func (s *Server) recordRules(ctx context.Context, rec *audit.Record) {
	if rec == nil {
		return
	}
	rec.Time, rec.Actor, rec.Origin = time.Now().UTC(), "server:"+s.cfg.Name, "local"
	if err := s.store.AppendAudit(ctx, *rec); err != nil {
		s.log.Error("record the rules of rights", "action", rec.Action, "error", err)
		return
	}
	s.trail.Wake()
}
