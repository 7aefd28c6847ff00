package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	recorded := &debug.BuildInfo{
		Main: debug.Module{Version: "v0.2.0"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	for name, c := range map[string]struct {
		version, commit string
		info            *debug.BuildInfo
		want            string
	}{
		"the linker wins":         {"0.1.0", "aaaaaaaaaaaa", recorded, "0.1.0 (commit aaaaaaaaaaaa, go1.26.0)"},
		"what Go recorded":        {"", "", recorded, "v0.2.0 (commit 0123456789ab-dirty, go1.26.0)"},
		"a build in a work tree":  {"", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "unknown (commit unknown, go1.26.0)"},
		"no build information":    {"", "", nil, "unknown (commit unknown, go1.26.0)"},
		"a short revision":        {"", "", &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}, "unknown (commit abc, go1.26.0)"},
		"modified, revision lost": {"", "", &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}}, "unknown (commit unknown, go1.26.0)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := describe(c.version, c.commit, "go1.26.0", c.info).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A page for people says no "unknown".
func TestTold(t *testing.T) {
	for want, b := range map[string]Build{
		"0.1.0 (commit abc, go1.26.0)":     {"0.1.0", "abc", "go1.26.0"},
		"0.1.0 (commit unknown, go1.26.0)": {"0.1.0", Unknown, "go1.26.0"},
		"commit abc-dirty, go1.26.0":       {Unknown, "abc-dirty", "go1.26.0"},
		"":                                 {Unknown, Unknown, "go1.26.0"},
	} {
		if got := b.Told(); got != want {
			t.Errorf("%+v is told as %q, want %q", b, got, want)
		}
	}
}

func TestCurrentNamesTheCompiler(t *testing.T) {
	if got := Current(); got.Go != runtime.Version() || got.Version == "" || got.Commit == "" {
		t.Errorf("got %+v; want each field set and Go %s", got, runtime.Version())
	}
}
