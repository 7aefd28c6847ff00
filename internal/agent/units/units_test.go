package units

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// recorded is a host whose programs print what they printed on a Debian 12
// with systemd 252 (testdata/bookworm): nginx and rsyslog of the distribution,
// and units of our own with awkward names, one of a template, one of an init
// script, one that fails and one that can't be started.
func recorded(t *testing.T) System {
	t.Helper()
	dir := t.TempDir()
	data, err := filepath.Abs("testdata/bookworm")
	must(t, err)
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
		return path
	}
	s := System{
		Systemctl: program("systemctl", fmt.Sprintf(`echo "$@" >>%s/asked; exec cat %s/"$1"`, dir, data)),
		Dpkg:      program("dpkg-query", "cat "+data+"/dpkg-S; exit 1"), // some paths belong to nobody
		Proc:      filepath.Join(dir, "proc"),
		Booted:    dir,
	}
	for table, from := range map[string]string{"net/tcp": "tcp", "net/tcp6": "tcp6"} {
		text, err := os.ReadFile(filepath.Join(data, from))
		must(t, err)
		must(t, os.MkdirAll(filepath.Join(s.Proc, "net"), 0o755))
		must(t, os.WriteFile(filepath.Join(s.Proc, table), text, 0o644))
	}
	// A worker of nginx listens, its main process does not; Billing's listens itself.
	for pid, p := range map[string]struct{ group, exe, socket string }{
		"44": {"0::/system.slice/nginx.service", "/usr/sbin/nginx", "2"},
		"45": {"9:name=systemd:/system.slice/nginx.service\n0::/", "/usr/sbin/nginx", "1275500"},
		"30": {"0::/system.slice/Billing.service", "/usr/bin/python3.11", "1274745"},
		"42": {"0::/system.slice/system-worker.slice/worker@01.service", "/usr/lib/jvm/bin/java", "1"},
	} {
		dir := filepath.Join(s.Proc, pid)
		must(t, os.MkdirAll(filepath.Join(dir, "fd"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(p.group+"\n"), 0o644))
		must(t, os.Symlink(p.exe, filepath.Join(dir, "exe")))
		must(t, os.Symlink("socket:["+p.socket+"]", filepath.Join(dir, "fd", "3")))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, s System) []Unit {
	t.Helper()
	all, notes, err := s.Look(t.Context())
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, notes %q", err, notes)
	}
	return all
}

func TestARecordedHost(t *testing.T) {
	got, err := Choose(look(t, recorded(t)), protocol.DiscoverRequest{}, nil)
	must(t, err)
	want := protocol.DiscoverReport{
		Services: []protocol.Discovered{
			{Name: "billing", Unit: "Billing.service", User: "www-data", Description: "Billing — the shop’s own", Ports: []int{8081}, Runtime: "python", State: "active", Enabled: "enabled"},
			{Name: "broken", Unit: "broken.service", State: "failed", Enabled: "enabled"},
			{Name: "fails", Unit: "fails.service", Description: "Always fails", State: "failed", Enabled: "enabled"},
			{Name: "nginx", Unit: "nginx.service", Package: "nginx-common", Description: "A high performance web server and a reverse proxy server", Ports: []int{80}, State: "active", Enabled: "enabled"},
			{Name: "oldstyle", Unit: "oldstyle.service", Description: "LSB: an init script of old", State: "active", Enabled: "generated"},
			{Name: "rec", Unit: "rec.service", State: "active", Enabled: "enabled"},
			{Name: "worker@01", Unit: "worker@01.service", User: "www-data", Description: "Worker 01", Runtime: "jvm", State: "active", Enabled: "enabled"},
		},
		LeftOut: []protocol.LeftOut{
			{Unit: "e2scrub_reap.service", Why: "it runs once and ends (Type=oneshot), so that there is nothing to restart"},
			{Unit: `odd\x2dname.service`, Why: "services.d takes no unit of such a name: letters, digits and : _ . @ - only"},
		},
		System: got.System,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.System < 10 {
		t.Errorf("only %d services of the system itself", got.System)
	}
}

func TestAllShowsTheSystemToo(t *testing.T) {
	all := look(t, recorded(t))
	got, err := Choose(all, protocol.DiscoverRequest{All: true}, nil)
	must(t, err)
	names := []string{}
	for _, s := range got.Services {
		names = append(names, s.Name)
	}
	for _, want := range []string{"ssh", "rsyslog", "dbus", "systemd-journald", "e2scrub_reap", "nginx"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	for _, u := range all {
		if template(u.Name) || u.Name == "invoices.service" || u.Name == "sshd.service" {
			t.Errorf("%s is a template or an alias", u.Name)
		}
	}
}

func TestGlobsAndListedUnits(t *testing.T) {
	all := look(t, recorded(t))
	got, err := Choose(all, protocol.DiscoverRequest{Unit: "nginx*"}, map[string]string{"nginx.service": "front"})
	if err != nil || len(got.Services) != 1 || got.Services[0].Name != "front" || got.Services[0].Listed != "front" || got.System != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = Choose(all, protocol.DiscoverRequest{}, map[string]string{"rsyslog.service": "logs"})
	if err != nil || !slices.ContainsFunc(got.Services, func(d protocol.Discovered) bool { return d.Name == "logs" }) {
		t.Errorf("what the host lists itself is hidden: %+v, %v", got, err)
	}
	if _, err := Choose(all, protocol.DiscoverRequest{Unit: "["}, nil); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestNoSystemd(t *testing.T) {
	_, _, err := System{Booted: filepath.Join(t.TempDir(), "none")}.Look(t.Context())
	if restart.CodeOf(err) != restart.CodeUnavailable || !strings.Contains(err.Error(), "systemd does not run") {
		t.Errorf("got %v", err)
	}
}

func TestWhatSystemctlSaysInItsTrouble(t *testing.T) {
	for name, script := range map[string]string{
		"excuse":  "echo 'Failed to connect to bus: No such file' >&2; exit 1",
		"torrent": "while :; do echo 'a.service loaded active running x'; done",
	} {
		s := recorded(t)
		must(t, os.WriteFile(s.Systemctl, []byte("#!/bin/sh\n"+script), 0o755))
		if _, _, err := s.Look(t.Context()); restart.CodeOf(err) != restart.CodeUnavailable {
			t.Errorf("%s: got %v", name, err)
		}
	}
	s := recorded(t)
	must(t, os.WriteFile(s.Systemctl, []byte("#!/bin/sh\nexec sleep 600"), 0o755))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := s.Look(ctx); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestServiceName(t *testing.T) {
	for unit, want := range map[string]string{
		"nginx.service": "nginx", "php8.2-fpm.service": "php8.2-fpm", "Billing.service": "billing", "worker@01.service": "worker@01",
		"postgresql@15-main.service": "postgresql@15-main", "a:b.service": "a-b", "-odd.service": "odd", "a..b.service": "a.b", "@.service": "",
		strings.Repeat("x", 70) + ".service": strings.Repeat("x", 64),
	} {
		if got := ServiceName(unit); got != want {
			t.Errorf("%s: %q, want %q", unit, got, want)
		}
	}
}

func TestTwoUnitsOfOneName(t *testing.T) {
	got, err := Choose([]Unit{{Name: "Shop.service", Active: "active"}, {Name: "shop.service", Active: "active"}}, protocol.DiscoverRequest{}, nil)
	if err != nil || len(got.Services) != 1 || len(got.LeftOut) != 1 || got.LeftOut[0].Why != "the name shop is that of Shop.service" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseLoaded(t *testing.T) {
	const text = "● fails.service loaded failed failed Always fails\n● runs.service loaded reloading running x\n  nginx.service loaded active running x\ngetty@.service loaded active running x\n" +
		"gone.service not-found inactive dead gone.service\n-evil.service loaded active running x\nshort.service loaded\nidle.service loaded inactive dead x\na@b.service loaded inactive dead x\n\n"
	if got := parseLoaded(text); !slices.Equal(got, []string{"runs.service", "nginx.service", "a@b.service"}) {
		t.Errorf("got %q", got)
	}
}

func TestParseDpkg(t *testing.T) {
	got := parseDpkg("diversion by x from: /lib/a.service\nnginx-common, nginx: /lib/systemd/system/nginx.service\nlibc6:amd64: /lib/x.service\nBad Name: /lib/y\nno colon\n")
	want := map[string]string{"/lib/systemd/system/nginx.service": "nginx-common", "/lib/x.service": "libc6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMergedUsr(t *testing.T) {
	s := recorded(t)
	units := []Unit{{Name: "nginx.service", Path: "/usr/lib/systemd/system/nginx.service"}, {Name: "Billing.service", Path: "/etc/systemd/system/Billing.service"}}
	if note := s.own(t.Context(), units); note != "" || units[0].Package != "nginx-common" || units[1].Package != "" {
		t.Errorf("%+v, %q", units, note)
	}
}

func TestRpm(t *testing.T) {
	s := System{Dpkg: "/nonexistent", Rpm: filepath.Join(t.TempDir(), "rpm")}
	must(t, os.WriteFile(s.Rpm, []byte("#!/bin/sh\ncase $5 in */nginx.service) echo nginx-core ;; *) echo \"file $5 is not owned by any package\"; exit 1 ;; esac\n"), 0o755))
	units := []Unit{{Path: "/usr/lib/systemd/system/nginx.service"}, {Path: "/etc/systemd/system/own.service"}}
	if note := s.own(t.Context(), units); note != "" || units[0].Package != "nginx-core" || units[1].Package != "" {
		t.Errorf("%+v, %q", units, note)
	}
}

// FuzzUnits: whatever systemctl prints, what becomes of it can be laid into
// services.d.
func FuzzUnits(f *testing.F) {
	for _, file := range []string{"list-units", "list-unit-files", "show", "dpkg-S", "cgroups"} {
		b, err := os.ReadFile("testdata/bookworm/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b[:min(len(b), 2000)]))
	}
	f.Add("Id=a.service\nLoadState=loaded\nActiveState=active\nUser=-x\nMainPID=-3\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range append(parseLoaded(text), parseFiles(text)...) {
			if strings.HasPrefix(name, "-") || template(name) {
				t.Errorf("%q", name)
			}
		}
		parseDpkg(text)
		parseCgroups(text)
		got, err := Choose(parseShow(text), protocol.DiscoverRequest{All: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got.Services {
			if restart.CheckServiceName(d.Name) != nil || restart.CheckUnit(d.Unit) != nil || (d.User != "" && restart.CheckUser(d.User) != nil) ||
				restart.Escape(d.Description) != d.Description || strings.HasSuffix(d.Unit, "@.service") {
				t.Errorf("%+v", d)
			}
		}
	})
}
