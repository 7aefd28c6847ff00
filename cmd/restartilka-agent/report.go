package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// printReport shows what a host says about itself, for a person.
func printReport(w io.Writer, r protocol.CheckReport) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("host", "%s, restartilka-agent %s", r.Host, r.Program)
	line("clock", "%s", r.Clock.Format(time.RFC3339))
	if r.User != "" {
		line("runs as", "%s", r.User)
	}
	line("containment", "%s", r.Containment)
	if r.Memory != "" {
		line("memory", "%s", r.Memory)
	}
	if r.Init != "" {
		line("init", "%s", r.Init)
	}
	line("review", "%s", r.Review)
	if s := r.Signing; s != nil {
		line("", "by %d people beside the author; %d versions revoked", s.Quorum, s.Revoked)
		for _, signer := range s.Signers {
			line("  signer", "%s, %s", strings.Join(signer.Principals, ", "), signer.Fingerprint)
			if signer.Not != "" {
				line("", "does not count: %s", signer.Not)
			}
		}
	}
	if c := r.Certificate; c != nil {
		line("certificate", "serial %s of %s, until %s", c.Serial, restart.Quote(c.Issuer), c.NotAfter.Format(time.RFC3339))
	}
	if s := r.Spool; s != nil {
		line("spool", "%s, %d MiB of %d MiB free", s.Path, s.Free>>20, s.Total>>20)
	}
	if len(r.Shells) > 0 {
		line("shells", "%s", strings.Join(r.Shells, ", "))
	}
	if len(r.Services) > 0 {
		line("services", "%s", strings.Join(r.Services, ", "))
	}
	if len(r.Groups) > 0 {
		line("groups", "%s", strings.Join(r.Groups, ", "))
	}
	if s := r.Service; s != nil {
		line("service", "%s", s.Name)
		if s.Package != "" {
			line("  package", "%s %s", s.Package, or(s.Installed, "(not installed)"))
		}
		if s.Unit != "" {
			line("  unit", "%s %s", s.Unit, s.UnitState)
		}
		if s.Active != "" {
			line("  held by", "task %s", s.Active)
		}
	}
	for _, s := range r.Scenarios {
		line("scenario", "%s, serial %d, digest %s", s.Name, s.Serial, s.Digest)
	}
	if len(r.Scenarios) == 0 {
		line("scenario", "none: nothing can run on this host")
	}
	for _, warning := range r.Warnings {
		line("warning", "%s", warning.Message)
		if warning.Hint != "" {
			line("", "do: %s", warning.Hint)
		}
	}
	for _, p := range r.Problems {
		line("PROBLEM", "%s", p.Error())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
