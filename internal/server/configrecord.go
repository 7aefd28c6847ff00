package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// The params of a record of a configuration, beside a short digest of each of
// its sections, by which is told which are others. Those come last in the
// alphabet: what has no room in a record is cut off from there.
const (
	configNow    = "config"
	configBefore = "config_before"
	configKey    = "envelope_key"
	sectionMark  = "section." // stands before a section's name
)

// recordConfig writes down by which configuration this server runs, where that
// is another one than it said last: what it is with every default filled in and
// without secrets, as `config show` prints it.
func (s *Server) recordConfig(ctx context.Context) error {
	params, err := s.cfg.digests()
	if err != nil {
		return err
	}
	actor := "server:" + s.cfg.Name
	last, err := s.lastConfig(ctx, actor)
	if err != nil {
		return err
	}
	detail := "the first one on record"
	if last != nil {
		before := last.Params
		if before[configNow] == params[configNow] && before[configKey] == params[configKey] {
			return nil
		}
		detail = "other than before: " + strings.Join(changedParams(before, params), ", ")
		params[configBefore] = before[configNow]
	}
	rec := audit.Record{Time: time.Now().UTC(), Actor: actor, Origin: "local", Action: audit.ConfigChanged, Params: params, Detail: detail + "; " + s.cfg.shipsTo()}
	if err := s.store.AppendAudit(ctx, rec); err != nil {
		return err
	}
	s.trail.Wake()
	return nil
}

// lastConfig finds what this server said last; nil = nothing. By the action
// alone, which has an index: the seals are of the same actor, one a minute.
func (s *Server) lastConfig(ctx context.Context, actor string) (*audit.Record, error) {
	for after := ""; ; {
		records, next, err := s.store.AuditSearch(ctx, store.AuditFilter{Action: audit.ConfigChanged, Newest: true, After: after})
		if err != nil {
			return nil, err
		}
		for i := range records {
			if records[i].Actor == actor {
				return &records[i], nil
			}
		}
		if next == "" || next == after {
			return nil, nil
		}
		after = next
	}
}

// digests proves the configuration as a whole and section by section.
func (c Config) digests() (map[string]string, error) {
	text, err := c.Show()
	if err != nil {
		return nil, err
	}
	keys, err := c.EnvelopeKeys()
	if err != nil {
		return nil, err
	}
	params := map[string]string{configNow: hexSum(text), configKey: keys.InUse}
	var sections map[string]any
	if err := yaml.Load(text, &sections); err != nil {
		return nil, fmt.Errorf("read the configuration as it is shown: %w", err)
	}
	for name, section := range sections {
		b, err := yaml.Dump(section)
		if err != nil {
			return nil, fmt.Errorf("show the configuration's section %s: %w", name, err)
		}
		params[sectionMark+name] = hexSum(b)[:8]
	}
	return params, nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// changedParams names what differs: sections, and the key for envelopes.
func changedParams(before, now map[string]string) []string {
	var names []string
	for name := range maps.Keys(now) {
		if bare, section := strings.CutPrefix(name, sectionMark); (section || name == configKey) && before[name] != now[name] {
			names = append(names, bare)
		}
	}
	for name := range maps.Keys(before) {
		if _, ok := now[name]; !ok && strings.HasPrefix(name, sectionMark) {
			names = append(names, strings.TrimPrefix(name, sectionMark))
		}
	}
	slices.Sort(names)
	return names
}

// shipsTo says where the trail goes by this configuration.
func (c *Config) shipsTo() string {
	var sinks []string
	for _, sink := range c.Audit.Sinks {
		sinks = append(sinks, sink.Kind+" "+sink.Place())
	}
	if len(sinks) == 0 {
		sinks = []string{"nowhere"}
	}
	return restart.Escape("the trail goes to: " + strings.Join(sinks, ", "))
}
