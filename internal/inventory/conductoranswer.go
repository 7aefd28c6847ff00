package inventory

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// parseHosts reads the answer to groups2hosts in any of its forms: JSON
// [{"fqdn":…,"root_datacenter_name":…}], "dc<TAB>fqdn" lines, or one FQDN a
// line. A host twice counts once. Anything else, an error page say, is an
// error: a list that is believed in part would hide hosts.
func parseHosts(body []byte) ([]restart.Host, error) {
	var hosts []restart.Host
	seen := map[string]bool{}
	add := func(name, dc string) error {
		h := restart.Host{Name: strings.TrimSpace(name), DataCentre: strings.TrimSpace(dc)}
		if err := checkHost(h); err != nil {
			return err
		}
		if !seen[h.Name] {
			seen[h.Name] = true
			hosts = append(hosts, h)
		}
		return nil
	}
	if trimmed := bytes.TrimSpace(body); bytes.HasPrefix(trimmed, []byte("[")) {
		var list []struct {
			FQDN       string  `json:"fqdn"`
			DataCentre *string `json:"root_datacenter_name"` // may be null
		}
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "not valid JSON: %s", restart.Escape(err.Error()))
		}
		for _, e := range list {
			var dc string
			if e.DataCentre != nil {
				dc = *e.DataCentre
			}
			if err := add(e.FQDN, dc); err != nil {
				return nil, err
			}
		}
		return hosts, nil
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		dc, name, tab := strings.Cut(line, "\t")
		if !tab {
			dc, name = "", line
		}
		if err := add(name, dc); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// parseTags reads the answer to get_host_tags: a JSON list of strings, or one
// tag a line. A tag twice counts once.
func parseTags(body []byte) ([]string, error) {
	var list []string
	if trimmed := bytes.TrimSpace(body); bytes.HasPrefix(trimmed, []byte("[")) {
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "not valid JSON: %s", restart.Escape(err.Error()))
		}
	} else {
		list = strings.FieldsFunc(string(body), func(r rune) bool { return r == '\n' || r == '\r' })
	}
	var tags []string
	seen := map[string]bool{}
	for _, t := range list {
		t = strings.TrimSpace(t)
		if t == "" || seen[t] {
			continue
		}
		if err := restart.CheckTag(t); err != nil {
			return nil, err
		}
		seen[t] = true
		tags = append(tags, t)
	}
	return tags, nil
}

// parsePackages reads the answer to packages_on_host: JSON
// [{"name":…,"version":…}], or one package a line, its version behind a space or
// tab. Only the packages that are wanted are kept. A version that is no tag is
// left open.
func parsePackages(body []byte, wanted map[string]bool) (map[string]string, error) {
	out := map[string]string{}
	add := func(name, version string) error {
		if err := restart.CheckPackage(name); err != nil {
			return err
		}
		if !wanted[name] {
			return nil
		}
		if restart.CheckTag(version) != nil {
			version = ""
		}
		out[name] = version
		return nil
	}
	if trimmed := bytes.TrimSpace(body); bytes.HasPrefix(trimmed, []byte("[")) {
		var list []struct {
			Name    string  `json:"name"`
			Version *string `json:"version"` // may be null
		}
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "not valid JSON: %s", restart.Escape(err.Error()))
		}
		for _, e := range list {
			var version string
			if e.Version != nil {
				version = *e.Version
			}
			if err := add(e.Name, version); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) > 2 {
			return nil, restart.Errorf(restart.CodeInvalid, "a line is not a package and its version: %s", restart.Quote(line))
		}
		if err := add(fields[0], strings.Join(fields[1:], "")); err != nil {
			return nil, err
		}
	}
	return out, nil
}
