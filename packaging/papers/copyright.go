package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// part is what others wrote and the program contains.
type part struct {
	name  string   // module@version, or what a vendored file is
	texts []string // its licence files, the notices last
	names []string // of those files
}

// copyright writes one paragraph for the program and one for each part.
func copyright(ctx context.Context, w io.Writer, program string, vendored []string) error {
	parts, err := linked(ctx, program)
	if err != nil {
		return err
	}
	for _, v := range vendored {
		file, what, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("%q is not FILE=WHAT", v)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parts = append(parts, part{name: what, texts: []string{string(b)}, names: []string{filepath.Base(file)}})
	}
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		return err
	}
	own := copyrightLines(string(notice))
	if len(own) == 0 {
		return errors.New("NOTICE has no line that begins with Copyright")
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: restartilka
Source: https://github.com/restartilka/restartilka
Comment: The program is linked statically: beside our own code it contains the
 parts that the paragraphs after the first name, each under its own licence.

Files: *
Copyright: %s
License: Apache-2.0

License: Apache-2.0
 Licensed under the Apache License, Version 2.0. On Debian systems its text is
 in /usr/share/common-licenses/Apache-2.0, elsewhere in the file LICENSE beside
 this one, and at https://www.apache.org/licenses/LICENSE-2.0
`, strings.Join(own, "\n "))
	for _, p := range parts {
		if err := p.write(&b); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// linked gives Go's own library and the modules of others whose packages are
// linked into a program for Linux, in the order of their names.
func linked(ctx context.Context, program string) ([]part, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module,Standard", program)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", program, err)
	}
	dirs := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list %s: %w", program, err)
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		dirs[p.Module.Path+"@"+p.Module.Version] = p.Module.Dir
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root := strings.Fields(string(goroot))
	if len(root) != 2 {
		return nil, fmt.Errorf("go env GOROOT GOVERSION answers %q", goroot)
	}
	dirs["go@"+root[1]] = root[0]
	var parts []part
	for name, dir := range dirs {
		p, err := readPart(name, dir)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	return parts, nil
}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)`)
)

// readPart reads the licence files of a module's folder. None at all is an
// error: what nobody allows to be passed on must not be in a package.
func readPart(name, dir string) (part, error) {
	p := part{name: name}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, err
	}
	for _, kind := range []*regexp.Regexp{licenceFile, noticeFile} {
		for _, e := range entries {
			if e.IsDir() || !kind.MatchString(e.Name()) {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return p, err
			}
			p.texts, p.names = append(p.texts, string(b)), append(p.names, e.Name())
		}
		if kind == licenceFile && len(p.texts) == 0 {
			return p, fmt.Errorf("%s has no licence file in %s", name, dir)
		}
	}
	return p, nil
}

// write gives the part's paragraph. A licence that is not known here is an
// error, so that a person looks at it before it is shipped.
func (p part) write(b *strings.Builder) error {
	names, err := p.licences()
	if err != nil {
		return err
	}
	var owners []string
	for _, text := range p.texts {
		for _, line := range copyrightLines(text) {
			if !slices.Contains(owners, line) {
				owners = append(owners, line)
			}
		}
	}
	if len(owners) == 0 {
		module, _, _ := strings.Cut(p.name, "@")
		owners = []string{"the authors of " + module}
	}
	fmt.Fprintf(b, "\nFiles: linked/%s/*\nCopyright: %s\nLicense: %s\n", strings.ReplaceAll(p.name, " ", "-"), strings.Join(owners, "\n "), strings.Join(names, " and "))
	for i, text := range p.texts {
		if len(p.texts) > 1 {
			fmt.Fprintf(b, " == %s ==\n", p.names[i])
		}
		if licence(text) == apache {
			b.WriteString(" Apache License, Version 2.0: see /usr/share/common-licenses/Apache-2.0, or LICENSE.\n")
			continue
		}
		for line := range strings.Lines(strings.TrimSpace(text)) {
			line = strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), " \r\n\f")
			if line == "" {
				line = "."
			}
			fmt.Fprintf(b, " %s\n", line)
		}
	}
	return nil
}

const apache = "Apache-2.0"

// licences gives the short names of the part's licences, the main one first.
func (p part) licences() ([]string, error) {
	var names []string
	for i, text := range p.texts {
		if noticeFile.MatchString(p.names[i]) {
			continue
		}
		name := licence(text)
		if name == "" && len(names) == 0 {
			return nil, fmt.Errorf("the licence %s of %s is not one that papers knows: read it, and teach licence() its name", p.names[i], p.name)
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// licence recognises a text by words that stand in no other, "" = unknown.
// The GPL and its family are not here on purpose: they would bind our program.
func licence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("GNU GENERAL PUBLIC") || has("GNU LESSER GENERAL") || has("GNU AFFERO"):
		return ""
	case has("Apache License") && has("TERMS AND CONDITIONS FOR USE"):
		return apache
	case has("Redistribution and use in source and binary forms"):
		if has("Neither the name") || has("may not be used to endorse") || has("may be used to endorse") {
			return "BSD-3-Clause"
		}
		return "BSD-2-Clause"
	case has("Permission is hereby granted, free of charge"):
		return "Expat"
	case has("Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"):
		if has("provided that the above copyright notice") {
			return "ISC"
		}
		return "0BSD"
	case has("disclaims copyright to this source code") || has("in the public domain"):
		return "public-domain"
	}
	return ""
}

var copyrightLine = regexp.MustCompile(`^\W*(Copyright (?:\([cC]\) ?|© ?)?\d{4}.*|Copyright \([cC]\).*|\([cC]\) \d{4}.*|Copyright [12]\d{3}.*)$`)

// copyrightLines gives the lines that say who holds a copyright, without the
// word itself.
func copyrightLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		found := copyrightLine.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil || strings.Contains(found[1], "[yyyy]") {
			continue
		}
		who := regexp.MustCompile(`^(?:Copyright )?(?:\([cC]\) ?|© ?)?`).ReplaceAllString(found[1], "")
		who = strings.TrimSuffix(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(who), "All rights reserved.")), ",")
		if who != "" && !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	return out
}
