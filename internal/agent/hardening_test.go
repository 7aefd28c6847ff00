package agent_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// lines gives what follows a word at the beginning of the output's lines.
func lines(out, word string) (all []string) {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), word+" "); ok {
			all = append(all, rest)
		}
	}
	return all
}

// An agent that was started carelessly: with secrets and traps in its
// environment, open descriptors, an open umask, another folder, a terminal's
// signals. Its scripts see nothing of that, and neither do its supervisors.
func TestNothingOfTheAgentReachesAScript(t *testing.T) {
	b := newBed(t)
	b.must(os.Chmod(b.dir, 0o755))
	b.write("trap.sh", []byte("echo SPRUNG\n"), 0o755)
	b.write("open", []byte("secret\n"), 0o600)
	digest := b.scenario(`steps:
  run:
    script: |
      echo "umask $(umask)"
      echo "cwd $(pwd)"
      for n in 0 1 2 3 4 5 6 7 8 9; do if [ -e /proc/$$/fd/$n ]; then echo "fd $n"; fi; done
      echo "stdin $(readlink /proc/$$/fd/0)"
      tr '\0' '\n' </proc/$$/environ | sed 's/^/env /'
      tr '\0' '\n' </proc/$PPID/environ | sed 's/^/above /'
      tr '\0' ' ' </proc/$PPID/cmdline | sed 's/^/cmdline /'
`)
	r := b.startBy("/bin/sh", "-c", `umask 0; cd `+b.dir+`; exec 7<open 8>&1 9<>open
export ENV="$PWD/trap.sh" BASH_ENV="$PWD/trap.sh" LD_LIBRARY_PATH=/nowhere PATH="$PWD:$PATH" IFS=x PS4='$(id)' RESTARTILKA_TOKEN=rtk_secret AWS_SECRET_ACCESS_KEY=secret GODEBUG=
exec "$0" "$@"`, os.Args[0])
	e := b.envelope(digest)
	r.submit(e)
	s := r.until(e.Task, done)
	out := text(r.output(e.Task))
	if s.Outcome != protocol.OutcomeSucceeded || strings.Contains(out, "SPRUNG") || strings.Contains(out, "secret") {
		t.Fatalf("%+v\n%s", s, out)
	}
	if got := lines(out, "umask"); !slices.Equal(got, []string{"0077"}) {
		t.Errorf("umask %q", got)
	}
	if got := lines(out, "cwd"); !slices.Equal(got, []string{"/"}) {
		t.Errorf("folder %q", got)
	}
	if got := lines(out, "fd"); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("descriptors %q", got)
	}
	if got := lines(out, "stdin"); !slices.Equal(got, []string{"/dev/null"}) {
		t.Errorf("stdin %q", got)
	}
	env := lines(out, "env")
	slices.Sort(env)
	var home, me string
	for _, v := range env {
		if v, ok := strings.CutPrefix(v, "HOME="); ok {
			home = v
		}
		if v, ok := strings.CutPrefix(v, "USER="); ok {
			me = v
		}
	}
	want := []string{
		"HOME=" + home, "LANG=C.UTF-8", "LOGNAME=" + me, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"RESTARTILKA_ENVIRONMENT=testing", "RESTARTILKA_GROUP=shop-testing", "RESTARTILKA_HOST=" + testHost, "RESTARTILKA_PROJECT=market",
		"RESTARTILKA_RUN=" + e.Run, "RESTARTILKA_SERVICE=shop", "RESTARTILKA_TASK=" + e.Task, "SHELL=/bin/sh", "USER=" + me,
	}
	if !slices.Equal(env, want) {
		t.Errorf("environment %q\nwant %q", env, want)
	}
	above := lines(out, "above")
	slices.Sort(above)
	if want := []string{"LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}; !slices.Equal(above, want) {
		t.Errorf("the supervisor's environment %q", above)
	}
	if got := lines(out, "cmdline"); len(got) != 1 || got[0] != "restartilka-agent supervise "+e.Task+" " {
		t.Errorf("the supervisor's command line %q", got)
	}
}

// A script that does not run as root has no capability in any of its sets, and
// no way to one: not by a set-user-id program, not by what the agent's own unit
// was given to inherit, not by groups of root.
func TestWhoIsNotRootCanGainNothing(t *testing.T) {
	needRoot(t)
	b := newBed(t)
	b.must(os.Chmod(b.dir, 0o755))
	b.must(os.Chmod(filepath.Dir(b.dir), 0o755))
	program, err := os.ReadFile("/usr/bin/id")
	b.must(err)
	b.write("id", program, 0o755)
	b.must(os.Chmod(b.path("id"), 0o4755))
	digest := b.scenario(`run_as: nobody
steps:
  drain: {script: "grep -E '^(Cap|Groups|NoNewPrivs)' /proc/self/status | tr '\\t' ' '"}
  run:
    script: |
      grep -E '^(Cap|Groups|NoNewPrivs)' /proc/self/status | tr '\t' ' '
      echo "uid $(` + b.path("id") + ` -u) $(` + b.path("id") + ` -ru)"
      if chroot / true 2>/dev/null; then echo "uid chroot"; fi
      if cat /etc/shadow >/dev/null 2>&1; then echo "uid shadow"; fi
health:
  command: {script: "grep -qE '^CapBnd:.0+$' /proc/self/status"}
  deadline: 5s
  healthy_for: 0s
  interval: 100ms
`)
	// Supplementary groups and capabilities to inherit, as a unit may give them.
	r := b.startBy("/usr/bin/setpriv", "--groups", "0,4,42", "--inh-caps", "+sys_chroot,+dac_override", "--ambient-caps", "+sys_chroot,+dac_override", os.Args[0])
	e := b.envelope(digest)
	r.submit(e)
	s := r.until(e.Task, done)
	out := text(r.output(e.Task))
	if s.Outcome != protocol.OutcomeSucceeded {
		t.Fatalf("%+v\n%s", s, out)
	}
	for _, set := range []string{"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"} {
		if got := lines(out, set); len(got) != 2 || got[0] != "0000000000000000" || got[1] != got[0] {
			t.Errorf("%s %q", set, got)
		}
	}
	if got := lines(out, "NoNewPrivs:"); !slices.Equal(got, []string{"1", "1"}) {
		t.Errorf("NoNewPrivs %q", got)
	}
	if got := lines(out, "Groups:"); len(got) != 2 || strings.TrimSpace(got[0]) != "65534" {
		t.Errorf("groups %q", got)
	}
	if got := lines(out, "uid"); !slices.Equal(got, []string{"65534 65534"}) {
		t.Errorf("a set-user-id program gave %q", got)
	}
}

// A script that runs as root can do what root can: no restart would work else.
func TestRootKeepsItsCapabilities(t *testing.T) {
	needRoot(t)
	b := newBed(t)
	own, err := os.ReadFile("/proc/self/status")
	b.must(err)
	r := b.start()
	e := b.envelope(b.script("grep -E '^(Cap|NoNewPrivs)' /proc/self/status"))
	r.submit(e)
	r.until(e.Task, done)
	out := text(r.output(e.Task))
	for line := range strings.Lines(string(own)) {
		if (strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "CapBnd") || strings.HasPrefix(line, "NoNewPrivs")) && !strings.Contains(out, line) {
			t.Errorf("%q is missing in:\n%s", line, out)
		}
	}
}

// Everything in the spool is its owner's alone, whatever umask the agent was
// started with.
func TestTheSpoolIsItsOwnersAlone(t *testing.T) {
	b := newBed(t)
	digest := b.scenario("evidence: [process]\nsteps:\n  drain: {script: \"echo drain\"}\n  run: {script: \"echo run; exit 3\"}\n")
	r := b.startBy("/bin/sh", "-c", `umask 0; exec "$0" "$@"`, os.Args[0])
	e := b.envelope(digest)
	r.submit(e)
	r.until(e.Task, done)
	refused := b.envelope(strings.Repeat("ab", 32))
	if _, err := r.put(b.seal(refused), refused.Task); err == nil {
		t.Error("an unknown scenario was taken")
	}
	r.kill()
	seen := 0
	b.must(filepath.WalkDir(b.spoolDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want || (!d.IsDir() && !info.Mode().IsRegular()) {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		seen++
		return nil
	}))
	if seen < 6 {
		t.Errorf("only %d entries", seen)
	}
}

// What decides whom a host obeys counts only where nobody but its owner could
// have written it, and symlinks are not followed.
func TestWhomAHostObeysIsItsOwnersToSay(t *testing.T) {
	b := newBed(t)
	r := b.start()
	r.kill()
	elsewhere := func(name string) {
		b.must(os.Rename(b.path(name), b.path("real-"+name)))
		b.must(os.Symlink(b.path("real-"+name), b.path(name)))
	}
	back := func(name string) { b.must(os.Rename(b.path("real-"+name), b.path(name))) }
	for _, name := range []string{"agent.yaml", "envelope.pub"} {
		b.must(os.Chmod(b.path(name), 0o664))
		if out := b.mustNotStart(); !strings.Contains(out, name+" has mode 0664") {
			t.Errorf("%s that its group may write: %s", name, out)
		}
		b.must(os.Chmod(b.path(name), 0o644))
		elsewhere(name)
		if out := b.mustNotStart(); !strings.Contains(out, "symlinks are not followed") {
			t.Errorf("%s as a symlink: %s", name, out)
		}
		back(name)
		b.must(os.Chmod(b.dir, 0o777))
		if out := b.mustNotStart(); !strings.Contains(out, "has mode 0777") {
			t.Errorf("%s in a folder that is open to all: %s", name, out)
		}
		b.must(os.Chmod(b.dir, 0o755))
	}
	// Also while it runs: a key that others could have written opens nothing.
	r = b.start()
	b.must(os.Chmod(b.path("envelope.pub"), 0o666))
	e := b.envelope(b.script("touch " + b.path("ran")))
	_, err := r.put(b.seal(e), e.Task)
	if err == nil || restart.CodeOf(err) != restart.CodeCertificate {
		t.Errorf("a key that all may write: %v", err)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("it ran")
	}
}

// TERM comes first, and a script that heeds it has the grace to clean up.
func TestTermComesBeforeKill(t *testing.T) {
	t.Parallel()
	containments(t, func(t *testing.T, b *bed) {
		r := b.start()
		e := b.envelope(b.script(fmt.Sprintf("trap 'echo cleaned >%s; exit 0' TERM\nsleep 600 &\necho ready\nwait", b.path("cleaned"))))
		r.submit(e)
		r.printed(e.Task, "ready")
		_, err := r.cancel(e, 1)
		b.must(err)
		if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeCancelled {
			t.Errorf("%+v", s)
		}
		if got, err := os.ReadFile(b.path("cleaned")); err != nil || string(got) != "cleaned\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
