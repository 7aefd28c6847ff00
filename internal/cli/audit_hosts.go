package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// hostsFlags say what hosts have recorded themselves, to be held against a trail.
type hostsFlags struct {
	paths []string
	until string
}

func (h *hostsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&h.paths, "host", nil, "compare with a host's own records: ledger.jsonl, asked*.jsonl, or a folder with these; again for more")
	cmd.Flags().StringVar(&h.until, "until", "", "with --host: compare what happened until this time (RFC 3339), before the first of the files was copied")
}

// withHosts is a report with what hosts say beside it.
type withHosts struct {
	OK bool `json:"ok"` // both are
	audit.Report
	Hosts *audit.Comparison `json:"hosts,omitempty"`
}

// beside compares the trail with the hosts' files, where any are named.
func (h *hostsFlags) beside(report audit.Report, trail []string) (withHosts, error) {
	out := withHosts{OK: report.OK, Report: report}
	var until time.Time
	var err error
	switch {
	case len(h.paths) == 0 && h.until != "":
		return out, usage(restart.Errorf(restart.CodeInvalid, "--until says until when hosts are compared, and no --host is given"))
	case len(h.paths) == 0:
		return out, nil
	case h.until != "":
		if until, err = time.Parse(time.RFC3339, h.until); err != nil {
			return out, usage(restart.Errorf(restart.CodeInvalid, "--until %s is not a time", restart.Quote(h.until)).WithHint("such as 2026-11-23T07:00:00Z"))
		}
	}
	var files []audit.HostFile
	for _, path := range h.paths {
		more, err := openHost(path)
		if err != nil {
			return out, err
		}
		defer closeAll(more)
		files = append(files, more...)
	}
	inputs, shut, err := openTrails(trail)
	if err != nil {
		return out, err
	}
	defer shut()
	c, err := audit.Compare(inputs, files, until)
	if err != nil {
		return out, restart.Errorf(restart.CodeInvalid, "the trail can't be compared: %w", err)
	}
	out.Hosts, out.OK = &c, report.OK && c.OK
	return out, nil
}

// openHost opens a file of a host's records, or all those of a folder.
func openHost(path string) ([]audit.HostFile, error) {
	paths := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		paths = nil
		for _, pattern := range []string{"asked-*.jsonl", "asked.jsonl", "ledger.jsonl"} {
			found, err := filepath.Glob(filepath.Join(path, pattern)) // sorted
			if err != nil {
				return nil, restart.Errorf(restart.CodeInvalid, "the folder %s can't be read: %w", path, err)
			}
			paths = slices.Concat(paths, found)
		}
		if len(paths) == 0 {
			return nil, restart.Errorf(restart.CodeInvalid, "the folder %s has none of a host's own records", path).WithHint("ledger.jsonl and asked*.jsonl, of the spool of its agent")
		}
	}
	var files []audit.HostFile
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			closeAll(files)
			return nil, restart.Errorf(restart.CodeInvalid, "the host's records can't be read: %w", err)
		}
		files = append(files, audit.HostFile{Name: p, Data: f})
	}
	return files, nil
}

func closeAll(files []audit.HostFile) {
	for _, f := range files {
		f.Data.(io.Closer).Close() // read only
	}
}

// Write writes both for people.
func (v withHosts) Write(w io.Writer) error {
	if err := v.Report.Write(w); err != nil || v.Hosts == nil {
		return err
	}
	return v.Hosts.Write(w)
}
