package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// The source "prometheus": what Prometheus discovers its targets from, either
// files (file_sd_configs) or an address (http_sd_configs). Both hold a list of
//
//	{"targets": ["web1.example.com:9100"], "labels": {"environment": "testing"}}
//
// A target is a host, whatever its port or path; Config.Labels say which labels
// tell the rest. Labels that a scrape configuration adds, job among them, are
// not in these files.

const mostTargetFiles = 1_000

type prometheusSource struct {
	name      string
	patterns  []string   // of files; nil when a server is asked
	client    *webClient // nil when files are read
	labels    Labels
	templates []template
	domain    string
	services  *servicesFile
	files     fileSet
}

func newPrometheus(c Config) (Source, error) {
	services, err := newServicesFile(c)
	if err != nil {
		return nil, err
	}
	s := &prometheusSource{labels: c.Labels.filled(), domain: c.Domain, services: services}
	if s.templates, err = parseTemplates(c.GroupNames); err != nil {
		return nil, err
	}
	switch {
	case len(c.Files) > 0 && c.URL != "":
		return nil, bad("files", "and url are both given").WithHint("use one of them, or two sources of kind merged")
	case len(c.Files) > 0:
		s.patterns, s.name = c.Files, strings.Join(c.Files, " ")
		return s, s.checkPatterns()
	case c.URL == "":
		return nil, bad("files", "or url is missing").WithHint("files: [/etc/prometheus/targets/*.json], or the address that http_sd_configs asks")
	}
	if s.client, err = newWebClient(c, web{query: true, most: largestWhole, lost: "inventory.url must be the address that http_sd_configs asks"}); err != nil {
		return nil, err
	}
	s.name = withoutQuery(s.client.base.String())
	return s, nil
}

// checkPatterns wants what Prometheus itself accepts.
func (s *prometheusSource) checkPatterns() error {
	for _, p := range s.patterns {
		dir, base := filepath.Split(p)
		_, err := filepath.Match(base, "x")
		switch {
		case !slices.Contains([]string{".json", ".yml", ".yaml"}, filepath.Ext(p)):
			return bad("files", "%s does not end with .json, .yml or .yaml", restart.Quote(p))
		case strings.ContainsAny(dir, "*?["), err != nil:
			return bad("files", "%s is not a usable pattern", restart.Quote(p)).WithHint("* stands in the last part of the path: /etc/prometheus/targets/*.json")
		}
	}
	return nil
}

func (s *prometheusSource) Name() string { return s.name }

func (s *prometheusSource) Stamp() string {
	stamp := s.services.file.stamp()
	for _, path := range s.paths() {
		stamp += " " + path + " " + s.files.at(path).stamp()
	}
	return stamp
}

// paths lists the files that there are now, each once.
func (s *prometheusSource) paths() []string {
	var out []string
	for _, p := range s.patterns {
		found, _ := filepath.Glob(p) // a bad pattern was refused before
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *prometheusSource) Fetch(ctx context.Context) (Snapshot, error) {
	d, err := s.services.read()
	if err != nil {
		return Snapshot{}, err
	}
	g := newGathering(d, s.templates, s.domain)
	if s.client != nil {
		body, err := s.client.getWhole(ctx, s.client.base.String())
		if err == nil {
			err = s.read(g, body, ".json")
		}
		if err != nil {
			return Snapshot{}, err
		}
		return g.snapshot(), nil
	}
	paths := s.paths()
	switch {
	case len(paths) == 0:
		return Snapshot{}, restart.Errorf(restart.CodeUnavailable, "there is no such file").WithHint("look at %s; an empty list of targets is []", s.name)
	case len(paths) > mostTargetFiles:
		return Snapshot{}, restart.Errorf(restart.CodeTooLarge, "%d files of targets are over the bound of %d", len(paths), mostTargetFiles)
	}
	for _, path := range paths {
		b, err := s.files.at(path).read()
		if err == nil {
			err = s.read(g, b, filepath.Ext(path))
		}
		if err != nil {
			e := restart.Errorf(restart.CodeOf(err), "%s: %s", path, message(err)).Because(err)
			return Snapshot{}, e.WithHint("%s", hint(err))
		}
	}
	return g.snapshot(), nil
}

// targetGroup is one entry of a list of targets.
type targetGroup struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// read takes in a list of targets.
func (s *prometheusSource) read(g *gathering, b []byte, ext string) error {
	if ext != ".json" {
		list, err := parseTargets(b)
		for _, t := range list {
			if err == nil {
				err = s.see(g, t)
			}
		}
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // as Prometheus does
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return noTargets("it does not begin with [")
	}
	for d.More() {
		var t targetGroup
		if err := d.Decode(&t); err != nil {
			return noTargets(restart.Escape(err.Error()))
		}
		if err := s.see(g, t); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil || d.More() {
		return noTargets("it is cut off, or goes on behind its end")
	}
	return nil
}

func noTargets(why string) error {
	return restart.Errorf(restart.CodeInvalid, "it is no list of targets: %s", why).
		WithHint(`Prometheus reads such lists: [{"targets": ["web1.example.com:9100"], "labels": {"environment": "testing"}}]`)
}

// parseTargets reads a list of targets in YAML, without aliases.
func parseTargets(b []byte) ([]targetGroup, error) {
	if len(b) > largestYAML {
		return nil, restart.Errorf(restart.CodeTooLarge, "a list in YAML is over %d MiB", largestYAML>>20).WithHint("write it as JSON")
	}
	const empty = "it is empty, and an empty list is []"
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, noTargets(empty)
	}
	var tree yaml.Node
	if err := yaml.Load(b, &tree); err != nil {
		return nil, noTargets(restart.Escape(err.Error()))
	}
	if line := strict.AliasLine(&tree); line > 0 {
		return nil, strict.LineError(line, "aliases are not allowed here").WithHint("write the list out")
	}
	var list []targetGroup
	if err := tree.Load(&list, yaml.WithKnownFields()); err != nil {
		return nil, noTargets(restart.Escape(err.Error()))
	}
	if list == nil {
		return nil, noTargets(empty)
	}
	for i, t := range list {
		if t.Targets == nil {
			return nil, noTargets(fmt.Sprintf("entry %d has no targets", i+1))
		}
	}
	return list, nil
}

// see takes in the targets of one entry.
func (s *prometheusSource) see(g *gathering, t targetGroup) error {
	l := s.labels
	seen := sighting{
		services: words(t.Labels[l.Service]), environment: t.Labels[l.Environment], project: t.Labels[l.Project], groups: words(t.Labels[l.Group]),
	}
	seen.host.DataCentre = t.Labels[l.DataCentre]
	seen.host.Tags = tagsOf(l.Tags, func(name string) string { return t.Labels[name] })
	for _, target := range t.Targets {
		one := seen
		host := targetHost(target)
		one.host.Name, one.host.Address = g.name(host), ""
		if named := t.Labels[l.Host]; named != "" && l.Host != "" {
			one.host.Name = g.name(named)
			if one.host.Name != g.name(host) {
				one.host.Address = host
			}
		}
		if a := t.Labels[l.Address]; a != "" && l.Address != "" {
			one.host.Address = a
		}
		if err := g.see(one); err != nil {
			return err
		}
	}
	return nil
}

// targetHost is the host of a target: what stands before the port, or in the
// URL that a probe is told.
func targetHost(target string) string {
	if strings.Contains(target, "://") {
		if u, err := url.Parse(target); err == nil {
			return u.Hostname()
		}
		return target
	}
	target, _, _ = strings.Cut(target, "/")
	if inner, ok := strings.CutPrefix(target, "["); ok {
		host, _, _ := strings.Cut(inner, "]")
		return host
	}
	if strings.Count(target, ":") == 1 {
		target, _, _ = strings.Cut(target, ":")
	}
	return target
}
