// Package version says which build of restartilka is running: its version, the
// commit it was made from, and the Go that compiled it. A release build has the
// first two written in by the linker (see the Makefile); any other build, such
// as `go install`, falls back on what Go itself records in the binary.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Unknown stands for what a build does not tell.
const Unknown = "unknown"

// Set by the linker with -X; nothing else writes to them.
var (
	version string
	commit  string
)

// Build describes the running binary. Each field has a value, Unknown at worst.
type Build struct {
	Version string `json:"version"` // such as 0.1.0, or 0.1.0-dev between releases
	Commit  string `json:"commit"`  // 12 hex digits of a git commit, "-dirty" after them where files were changed
	Go      string `json:"go"`      // such as go1.26.8
}

// Current gives the build of the running binary.
func Current() Build {
	info, _ := debug.ReadBuildInfo()
	return describe(version, commit, runtime.Version(), info)
}

// describe prefers what the linker wrote to what Go recorded. info may be nil.
func describe(version, commit, goVersion string, info *debug.BuildInfo) Build {
	b := Build{Version: version, Commit: commit, Go: goVersion}
	if info == nil {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Commit == "" {
		b.Commit = recordedCommit(info.Settings)
	}
	if b.Version == "" {
		b.Version = Unknown
	}
	if b.Commit == "" {
		b.Commit = Unknown
	}
	return b
}

// recordedCommit gives the commit that Go recorded in the form of Build.Commit;
// "" where it recorded none.
func recordedCommit(settings []debug.BuildSetting) string {
	var revision, dirty string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

// Told gives what there is to tell people: the build on one line, or the commit
// alone where that is all that is known; "" = nothing is.
func (b Build) Told() string {
	switch {
	case b.Version != Unknown:
		return b.String()
	case b.Commit != Unknown:
		return fmt.Sprintf("commit %s, %s", b.Commit, b.Go)
	}
	return ""
}

// String gives the build on one line, for --version.
func (b Build) String() string {
	return fmt.Sprintf("%s (commit %s, %s)", b.Version, b.Commit, b.Go)
}
