// Package packages installs, upgrades, breaks and removes our Debian packages
// on a real host, with dpkg, apt and systemd as they are.
package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

const (
	limit = time.Minute
	deb   = "/root/restartilka-agent.deb" // where the harness puts the tree's own
	newer = "/root/newer.deb"
	kept  = "/root/credentials"
)

// slow is in hand until the test lets it go on.
var scenarios = map[string]string{"slow": fleet.Scenario("slow", fleet.Witness+"\nuntil [ -e /run/go-on ]; do sleep 0.1; done\nrm /run/go-on\nsystemctl restart #unit#", "")}

// credentials are the files without which there is no agent, in an order in
// which the settings come neither first nor last.
var credentials = []string{"server.pub", "agent.crt", "agent.yaml", "ca.crt", "agent.key"}

// One host goes through the life of a package; each part leaves it with an
// agent that serves.
func TestLifeOfAPackage(t *testing.T) {
	c := fleet.New(t, fleet.Options{Web: 1}).Install(scenarios)
	h := c.Web[0]
	h.Push(repacked(t, c.Packages().Agent, "9.0.0-1"), newer, 0o644)
	h.Shell("mkdir -m 0700 " + kept + "; cd /etc/restartilka; cp -p " + strings.Join(credentials, " ") + " " + kept)
	for _, part := range []struct {
		name string
		test func(t *testing.T, c *fleet.Company, h *fleet.Host)
	}{
		{"the server runs as its own user, shut in", serverShutIn},
		{"installed twice", installedTwice},
		{"upgraded over a task", upgradedOverATask},
		{"a downgrade is refused", downgradeRefused},
		{"an old configuration is named", oldConfiguration},
		{"on a full disk", fullDisk},
		{"removed over a task", removedOverATask},
		{"purged", purged},
		{"without credentials", withoutCredentials},
		{"joined later, file by file", joinedFileByFile},
		{"joined later, after a boot, all at once", joinedAtOnce},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			on := c.On(t)
			part.test(t, on, on.Web[0])
		}) {
			t.FailNow() // what follows needs a host that is whole
		}
	}
}

// repacked gives a package's copy as another version.
func repacked(t *testing.T, path, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if out, err := exec.Command("dpkg-deb", "--raw-extract", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", path, err, out)
	}
	old, err := exec.Command("dpkg-deb", "--field", path, "Version").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"control", "preinst"} {
		name := filepath.Join(dir, "DEBIAN", file)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), strings.TrimSpace(string(old)), version)
		if text == string(b) {
			t.Fatalf("%s does not name the version %s", file, old)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "repacked.deb")
	if text, err := exec.Command("dpkg-deb", "-Znone", "--build", dir, out).CombinedOutput(); err != nil {
		t.Fatalf("pack %s: %v\n%s", out, err, text)
	}
	return out
}

// serving waits until the agent answers, and gives the process that does.
func serving(h *fleet.Host) string {
	h.Await(10*time.Second, "curl -sf http://127.0.0.1:3132/ping")
	return property(h, "restartilka-agent.service", "MainPID")
}

func property(h *fleet.Host, unit, name string) string {
	return strings.TrimSpace(h.Shell("systemctl show --property=" + name + " --value " + unit))
}

// status is dpkg's, such as "install ok installed", with the version.
func status(h *fleet.Host) string {
	out, _ := h.Try("dpkg-query -W -f '${Status} ${Version}' restartilka-agent") // not known at all is an answer
	return strings.TrimSpace(out)
}

// refused runs what must fail, and wants each of the texts in what it says.
func refused(t *testing.T, h *fleet.Host, script string, want ...string) {
	t.Helper()
	out, err := h.Try(script)
	if err == nil {
		t.Errorf("%s succeeded:\n%s", script, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("%s does not say %q:\n%s", script, text, out)
		}
	}
}

// inHand starts a run and waits until its script runs on the host.
func inHand(t *testing.T, c *fleet.Company, h *fleet.Host, reason string) string {
	t.Helper()
	before := len(fleet.Witnessed(h))
	id := c.Start("slow", reason)
	for end := time.Now().Add(limit); len(fleet.Witnessed(h)) == before; {
		if time.Now().After(end) {
			t.Fatal("the script does not start")
		}
		time.Sleep(20 * time.Millisecond) // between two looks, bounded by limit
	}
	return id
}

// completed lets a run's script go on, and wants the run to end well, with its
// script run once.
func completed(t *testing.T, c *fleet.Company, h *fleet.Host, id string, before int) {
	t.Helper()
	h.Shell("touch /run/go-on")
	run := c.Until(id, limit, restart.RunCompleted, restart.RunPaused, restart.RunFailed)
	if run.State != restart.RunCompleted {
		t.Errorf("the run is %s: %+v", run.State, run.Tasks)
	}
	if ran := len(fleet.Witnessed(h)) - before; ran != 1 {
		t.Errorf("the script ran %d times", ran)
	}
}

func serverShutIn(t *testing.T, c *fleet.Company, _ *fleet.Host) {
	s := c.Server
	pid := property(s, "restartilka.service", "MainPID")
	s.Shell(`test "$(stat -c %U /proc/` + pid + `)" = restartilka; grep -q '^CapEff:\s*0*$' /proc/` + pid + `/status; grep -q '^NoNewPrivs:\s*1' /proc/` + pid + `/status; grep -q '^Seccomp:\s*2' /proc/` + pid + `/status`)
	if got := s.Shell("stat -c '%U %a %n' /etc/restartilka /etc/restartilka/ca.key /etc/restartilka/server.yaml /var/lib/restartilka"); got != "root 755 /etc/restartilka\nrestartilka 600 /etc/restartilka/ca.key\nroot 640 /etc/restartilka/server.yaml\nrestartilka 700 /var/lib/restartilka\n" {
		t.Errorf("owners and modes:\n%s", got)
	}
	s.Shell("restartilka config check")
	// As root it would be fine, and the server could not read it.
	s.Shell("chmod 0600 /etc/restartilka/inventory.yaml")
	refused(t, s, "restartilka config check", "inventory.yaml", "may not be read")
	s.Shell("chmod 0644 /etc/restartilka/inventory.yaml; restartilka config check")
	before := property(s, "restartilka.service", "InvocationID")
	s.Shell("dpkg -i /root/restartilka.deb; systemctl is-active restartilka")
	if after := property(s, "restartilka.service", "InvocationID"); after == before {
		t.Error("the server was not restarted")
	}
	s.Await(10*time.Second, "curl -sf --cacert /etc/restartilka/ca.crt https://restartilka.example.com:8443/readyz")
	if n := strings.TrimSpace(s.Shell("journalctl -u restartilka -o cat | grep -ci 'seccomp\\|operation not permitted\\|read-only file system' || :")); n != "0" {
		t.Errorf("the sandbox is in the server's way: %s", s.Shell("journalctl -u restartilka -o cat --no-pager | tail -30"))
	}
}

func installedTwice(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	serving(h)
	h.Shell("dpkg -i " + deb) // the harness did it once
	serving(h)
	if got := status(h); !strings.HasPrefix(got, "install ok installed") {
		t.Error(got)
	}
	if got := h.Shell("stat -c '%U %a %n' /etc/restartilka /etc/restartilka/scenarios.d /etc/restartilka/services.d /var/spool/restartilka"); got != "root 755 /etc/restartilka\nroot 755 /etc/restartilka/scenarios.d\nroot 755 /etc/restartilka/services.d\nroot 700 /var/spool/restartilka\n" {
		t.Errorf("owners and modes:\n%s", got)
	}
	h.Shell("restartilka-agent check --service nginx")
	h.Shell("systemctl is-enabled restartilka-agent.service restartilka-agent.path; ! systemctl is-active -q restartilka-agent.path")
}

func upgradedOverATask(t *testing.T, c *fleet.Company, h *fleet.Host) {
	pid, before := serving(h), len(fleet.Witnessed(h))
	id := inHand(t, c, h, "an upgrade while its script runs")
	h.Shell("dpkg -i " + newer + "; pgrep -f 'restartilka-agent supervise'")
	if after := serving(h); after == pid {
		t.Error("the agent was not restarted")
	}
	if got := status(h); got != "install ok installed 9.0.0-1" {
		t.Error(got)
	}
	completed(t, c, h, id, before)
}

func downgradeRefused(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	pid := serving(h)
	refused(t, h, "dpkg -i "+deb, "9.0.0-1 was here", "RESTARTILKA_ALLOW_DOWNGRADE=yes")
	if got := status(h); got != "install ok installed 9.0.0-1" {
		t.Errorf("after the refusal: %s", got)
	}
	if after := serving(h); after != pid {
		t.Error("the agent was touched all the same")
	}
	h.Shell("RESTARTILKA_ALLOW_DOWNGRADE=yes dpkg -i " + deb)
	serving(h)
}

func oldConfiguration(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	pid := serving(h)
	h.Shell("echo 'verbosity: loud' >>/etc/restartilka/agent.yaml")
	refused(t, h, "dpkg -i "+deb, "/etc/restartilka/agent.yaml", "verbosity", "dpkg --configure -a")
	if after := serving(h); after != pid {
		t.Error("the agent that ran was touched")
	}
	h.Shell("cp -p " + kept + "/agent.yaml /etc/restartilka/; dpkg --configure -a")
	if after := serving(h); after == pid {
		t.Error("the agent was not restarted")
	}
}

// fullDisk gives programs, and then dpkg's own notes of units, a file system
// that is full.
func fullDisk(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	pid := serving(h)
	h.Shell(`mkdir /run/small; mount -t tmpfs -o size=200m small /run/small; cp -a /usr/sbin/. /run/small/
mount -o remount,size=$(($(du -sk /run/small | cut -f1) + 2048))k /run/small; mount --bind /run/small /usr/sbin`)
	refused(t, h, "dpkg -i "+newer, "No space left on device")
	if after := serving(h); after != pid {
		t.Error("the agent that ran was touched")
	}
	h.Shell("mount -o remount,size=200m /usr/sbin; dpkg --configure -a; dpkg -i " + newer)
	serving(h)
	h.Shell("cp -a /usr/sbin/restartilka-agent /usr/local/lib/; umount -l /usr/sbin; cp -a /usr/local/lib/restartilka-agent /usr/sbin/.restartilka-agent; mv /usr/sbin/.restartilka-agent /usr/sbin/restartilka-agent; rm /usr/local/lib/restartilka-agent; umount -l /run/small; systemctl restart restartilka-agent")
	serving(h)
}

func removedOverATask(t *testing.T, c *fleet.Company, h *fleet.Host) {
	before := len(fleet.Witnessed(h))
	id := inHand(t, c, h, "removal while its script runs")
	out := h.Shell("dpkg --remove restartilka-agent")
	if !strings.Contains(out, "in hand") {
		t.Errorf("removal says nothing of the script in hand:\n%s", out)
	}
	h.Shell("! systemctl is-active -q restartilka-agent.service; ! curl -s http://127.0.0.1:3132/ping; pgrep -f 'restartilka-agent supervise'")
	refused(t, h, "dpkg --purge restartilka-agent", "not purged", "in hand")
	h.Shell("test -d /var/spool/restartilka/tombstones -a -s /etc/restartilka/agent.key; pgrep -f 'restartilka-agent supervise'")
	h.Shell("dpkg -i " + newer)
	serving(h)
	completed(t, c, h, id, before)
}

func purged(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	serving(h)
	out := h.Shell("dpkg --purge restartilka-agent")
	if got := h.Shell("find /etc/restartilka /var/spool/restartilka /etc/init.d/restartilka-agent -type f 2>/dev/null || :"); got != "/etc/restartilka/services.d/nginx.yaml\n/etc/restartilka/scenarios.d/slow.yaml\n" && got != "/etc/restartilka/scenarios.d/slow.yaml\n/etc/restartilka/services.d/nginx.yaml\n" {
		t.Errorf("left behind, beside what people had laid:\n%s", got)
	}
	if !strings.Contains(out, "/etc/restartilka/services.d") {
		t.Errorf("the purge does not say what it leaves:\n%s", out)
	}
	h.Shell("! systemctl cat restartilka-agent.service 2>/dev/null; ! ls /etc/systemd/system/*/restartilka-agent.* /etc/rc?.d/*restartilka-agent 2>/dev/null")
}

func withoutCredentials(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	h.Shell("dpkg --purge restartilka-agent")
	want := []string{"restartilka host issue", "restartilka host join-token", "restartilka-agent join", "RESTARTILKA_JOIN_LATER=yes", "dpkg --configure -a"}
	for _, file := range credentials {
		want = append(want, "/etc/restartilka/"+file)
	}
	refused(t, h, "dpkg -i "+deb, want...)
	if got := status(h); !strings.HasPrefix(got, "install ok half-configured") {
		t.Errorf("after the refusal: %s", got)
	}
	h.Shell("! systemctl is-active -q restartilka-agent.service; ! systemctl is-failed -q restartilka-agent.service")
	// One file less to ask for, and settings that name other places.
	h.Shell("cp -p " + kept + "/agent.yaml /etc/restartilka/; mkdir -p /srv/pki; cp -p " + kept + "/agent.crt /srv/pki/; sed -i -E 's,^(certificate|key):.*(agent\\.[a-z]+).*,\\1: /srv/pki/\\2,' /etc/restartilka/agent.yaml")
	refused(t, h, "dpkg --configure -a", "/srv/pki/agent.key", "/etc/restartilka/ca.crt")
	out, _ := h.Try("dpkg --configure -a")
	for _, text := range []string{"/srv/pki/agent.crt", "/etc/restartilka/agent.key", "/etc/restartilka/agent.yaml  "} {
		if strings.Contains(out, text) {
			t.Errorf("%s is not missing:\n%s", text, out)
		}
	}
	h.Shell("cp -p " + kept + "/* /srv/pki/; cp -p " + kept + "/ca.crt " + kept + "/server.pub /etc/restartilka/; apt-get -qq -f install")
	serving(h)
}

// listens counts how often an agent has begun to serve since a moment.
func listens(h *fleet.Host, since string) int {
	return strings.Count(h.Shell("journalctl -q -o cat -u restartilka-agent --since @"+since), "agent listens")
}

func joinedFileByFile(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	since := strings.TrimSpace(h.Shell("date +%s.%N"))
	h.Shell("dpkg --purge restartilka-agent; RESTARTILKA_JOIN_LATER=yes apt-get -qq -y install " + deb)
	h.Shell("systemctl is-active -q restartilka-agent.path; ! systemctl is-active -q restartilka-agent.service")
	for i, file := range credentials {
		if i > 0 && i < 3 {
			h.Shell("sleep 0.3") // people type; later files come close together
		}
		h.Shell("cat " + kept + "/" + file + " >/etc/restartilka/" + file + "; if [ " + file + " = agent.key ]; then chmod 0600 /etc/restartilka/agent.key; fi")
		if i < len(credentials)-1 {
			h.Shell("! systemctl is-active -q restartilka-agent.service; ! systemctl is-failed -q restartilka-agent.service restartilka-agent.path")
		}
	}
	serving(h)
	h.Await(5*time.Second, "! systemctl is-active -q restartilka-agent.path")
	// The key may be caught between its last byte and its mode: then the agent refuses it once.
	if n := listens(h, since); n != 1 {
		t.Errorf("the agent has begun to serve %d times", n)
	}
	// Who stops it wants it stopped, whatever changes in the folder.
	h.Shell("systemctl stop restartilka-agent; touch /etc/restartilka/agent.yaml; sleep 0.5; ! systemctl is-active -q restartilka-agent.service")
}

func joinedAtOnce(t *testing.T, _ *fleet.Company, h *fleet.Host) {
	h.Shell("dpkg --purge restartilka-agent")
	h.Write("/etc/default/restartilka-agent", "# laid by the company's configuration management\nRESTARTILKA_JOIN_LATER=yes\n", 0o644)
	h.Shell("dpkg -i " + deb)
	h.Reboot()
	h.Shell("systemctl is-active -q restartilka-agent.path; ! systemctl is-failed -q restartilka-agent.service")
	for round := range credentials {
		since := strings.TrimSpace(h.Shell("date +%s.%N"))
		files := append(append([]string{}, credentials[round:]...), credentials[:round]...)
		h.Shell("for f in " + strings.Join(files, " ") + "; do cp -p " + kept + "/$f /etc/restartilka/.$f; mv /etc/restartilka/.$f /etc/restartilka/$f; done")
		serving(h)
		if n := listens(h, since); n != 1 {
			t.Errorf("round %d: the agent has begun to serve %d times", round, n)
		}
		h.Shell("systemctl stop restartilka-agent; cd /etc/restartilka; rm " + strings.Join(files, " ") + "; systemctl start restartilka-agent.path")
	}
	h.Shell("cp -p " + kept + "/* /etc/restartilka/")
	serving(h)
	h.Reboot()
	serving(h)
	if n := property(h, "restartilka-agent.service", "NRestarts"); n != "0" {
		t.Errorf("after a boot with credentials the agent was restarted %s times", n)
	}
	fmt.Fprintln(t.Output(), strings.TrimSpace(h.Shell("systemctl status --no-pager restartilka-agent.path | head -3")))
}
