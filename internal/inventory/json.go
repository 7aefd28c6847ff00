package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "json": a JSON document of any shape, from an address, a command
// or a file. Config.Mapping says where in it hosts, groups and services are.
// Services that the document does not have are described in the services file.

const (
	jsonWhole      = 2 * time.Minute // all pages together
	mostPages      = 1_000
	largestElement = 16 << 20 // bytes: of a group with all its hosts, say
)

type jsonSource struct {
	name                    string
	client                  *webClient // nil when no address is asked
	file                    *localFile // nil when no file is read
	command                 []string
	dir                     string
	timeout                 time.Duration
	hosts, groups, describe *section // nil = the document has none
	next                    *pointer
	templates               []template
	domain                  string
	services                *servicesFile // nil when the document describes them
}

func newJSON(c Config) (Source, error) {
	s := &jsonSource{domain: c.Domain}
	if err := s.readMapping(c.Mapping); err != nil {
		return nil, err
	}
	var err error
	switch {
	case s.describe == nil:
		s.services, err = newServicesFile(c)
	case c.ServicesFile != "" && !c.shared:
		err = bad("services_file", "and mapping.services are both given").WithHint("use one of them")
	}
	if err != nil {
		return nil, err
	}
	if s.templates, err = parseTemplates(c.GroupNames); err != nil {
		return nil, err
	}
	return s, s.from(c)
}

// readMapping reads the mapping.
func (s *jsonSource) readMapping(m *Mapping) (err error) {
	if m == nil || m.Hosts == nil && m.Groups == nil {
		return bad("mapping", "is missing, or has neither hosts nor groups").WithHint("mapping: {hosts: {each: /results/*, name: /fqdn}}")
	}
	if m.Hosts != nil {
		if s.hosts, err = m.Hosts.section(); err != nil {
			return err
		}
	}
	if m.Groups != nil {
		if s.groups, err = m.Groups.section(); err != nil {
			return err
		}
	}
	if m.Services != nil {
		if s.describe, err = m.Services.section(); err != nil {
			return err
		}
	}
	if m.Next == "" {
		return nil
	}
	next, err := parsePointer(m.Next)
	s.next = &next
	return err
}

// from says where the document comes from.
func (s *jsonSource) from(c Config) (err error) {
	given := 0
	for _, x := range []bool{c.Path != "", c.URL != "", len(c.Command) > 0 && c.Command[0] != ""} {
		if x {
			given++
		}
	}
	switch {
	case given != 1:
		return bad("url", "path or command: one of them is needed")
	case c.URL == "" && c.TokenFile+c.TokenScheme+c.TokenHeader+c.CAFile != "":
		return bad("token_file", "and what belongs to it are for an url")
	case c.URL == "" && s.next != nil:
		return bad("mapping", "has next, which is for an url")
	case len(c.Command) == 0 && c.Dir != "", c.Path != "" && c.Timeout != 0:
		return bad("dir", "and timeout are not for this")
	case c.URL != "":
		s.client, err = newWebClient(c, web{query: true, most: largestWhole, lost: "inventory.url must be the address of the document"})
		if err == nil {
			s.name = withoutQuery(s.client.base.String())
		}
		return err
	case c.Path != "":
		s.name, s.file = c.Path, &localFile{path: c.Path, most: largestWhole}
		return nil
	}
	s.name, s.command, s.dir, s.timeout = restart.Escape(strings.Join(c.Command, " ")), c.Command, "/", time.Minute
	if c.Dir != "" {
		s.dir = c.Dir
	}
	if c.Timeout > 0 {
		s.timeout = c.Timeout
	}
	return nil
}

func (s *jsonSource) Name() string { return s.name }

func (s *jsonSource) Stamp() string {
	var stamp string
	if s.services != nil {
		stamp = s.services.file.stamp()
	}
	if s.file != nil {
		stamp += " " + s.file.stamp()
	}
	return stamp
}

func (s *jsonSource) Fetch(ctx context.Context) (Snapshot, error) {
	var d described
	if s.services != nil {
		var err error
		if d, err = s.services.read(); err != nil {
			return Snapshot{}, err
		}
	}
	documents, err := s.documents(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	return s.read(d, documents)
}

// documents gets the document, or all its pages.
func (s *jsonSource) documents(ctx context.Context) ([][]byte, error) {
	switch {
	case s.file != nil:
		b, err := s.file.read()
		return [][]byte{b}, err
	case s.client == nil:
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		b, err := output(ctx, s.dir, s.command, largestWhole)
		return [][]byte{b}, err
	}
	whole := max(jsonWhole, s.client.http.Timeout)
	all, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	var out [][]byte
	size, seen := 0, map[string]bool{}
	for address := s.client.base; address != nil; {
		at := address.String()
		if seen[at] {
			return nil, restart.Errorf(restart.CodeUnavailable, "its pages go round in a circle: %s comes twice", restart.Quote(withoutQuery(at)))
		}
		seen[at] = true
		if len(out) == mostPages {
			return nil, restart.Errorf(restart.CodeTooLarge, "it has more than %d pages", mostPages).WithHint("ask for larger pages in inventory.url")
		}
		body, err := s.client.getWhole(all, at)
		if err != nil && all.Err() != nil && ctx.Err() == nil {
			return nil, restart.Errorf(restart.CodeUnavailable, "its pages take longer than %s together", restart.Span(whole)).WithHint("ask for larger pages in inventory.url").Because(err)
		}
		if err != nil {
			return nil, err
		}
		if size += len(body); size > largestWhole {
			return nil, restart.Errorf(restart.CodeTooLarge, "its pages are over %d MiB together", largestWhole>>20)
		}
		out = append(out, body)
		if address, err = s.following(address, body); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// following is the address of the page after this one, or nil. Only the origin
// that the configuration names is asked.
func (s *jsonSource) following(at *url.URL, body []byte) (*url.URL, error) {
	if s.next == nil {
		return nil, nil
	}
	var said string
	_, err := s.next.each(body, func(_ string, element json.RawMessage) error {
		return json.Unmarshal(element, &said) // null leaves it empty
	})
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "the address of its next page can't be read: %s", restart.Escape(err.Error()))
	}
	if said == "" {
		return nil, nil
	}
	u, err := at.Parse(said)
	if err != nil || u.Scheme != at.Scheme || u.Host != at.Host || u.User != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "its next page %s is at another address, which is not asked", restart.Quote(withoutQuery(said)))
	}
	return u, nil
}

// element is one host, group or service of the document.
type element struct {
	*section
	key   string
	value any
	g     *gathering
}

// one gives the word of a field: of the first place that has any.
func (e element) one(field string) string {
	for _, p := range e.fields[field] {
		if words := e.at(p); len(words) > 0 {
			return words[0]
		}
	}
	return ""
}

// all gives the words of a field, of all its places.
func (e element) all(field string) []string {
	var out []string
	for _, p := range e.fields[field] {
		out = append(out, e.at(p)...)
	}
	return out
}

func (e element) at(p pointer) []string {
	words, ok := p.in(e.key, e.value)
	if !ok {
		e.g.notes.add("at %s stands something else than words", p.text)
	}
	return words
}

// each calls f for each element of a section in all documents. A document in
// which there is no place for them is an error, and not an empty one.
func (s *jsonSource) each(g *gathering, x *section, documents [][]byte, f func(element) error) error {
	for _, document := range documents {
		found, err := x.each.each(document, func(key string, raw json.RawMessage) error {
			if len(raw) > largestElement {
				g.notes.add("left out: what stands at %s is over %d MiB", restart.Quote(key), largestElement>>20)
				return nil
			}
			var value any
			d := json.NewDecoder(bytes.NewReader(raw))
			d.UseNumber()
			if err := d.Decode(&value); err != nil {
				return err
			}
			return f(element{x, key, value, g})
		})
		if err != nil {
			return err
		}
		if !found {
			return restart.Errorf(restart.CodeInvalid, "the document has nothing at %s", x.each.text).
				WithHint("look at it yourself, and at inventory.mapping")
		}
	}
	return nil
}

// read makes a snapshot of the documents.
func (s *jsonSource) read(d described, documents [][]byte) (Snapshot, error) {
	for _, document := range documents {
		if !json.Valid(document) {
			return Snapshot{}, restart.Errorf(restart.CodeInvalid, "the document is not valid JSON").WithHint("it begins with %s", restart.Quote(string(document[:min(len(document), 60)])))
		}
	}
	r := &jsonReader{jsonSource: s, g: newGathering(d, s.templates, s.domain), documents: documents, entries: map[string]jsonGroup{}, words: map[string]sighting{}, torn: map[string]bool{}}
	if err := r.read(); err != nil {
		return Snapshot{}, err
	}
	return r.g.snapshot(), nil
}
