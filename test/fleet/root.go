package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// Release names a distribution release that hosts can run.
type Release string

// The releases: Debian 12, which hosts run unless a test says otherwise, and
// the one before it.
const (
	Bookworm Release = "bookworm"
	Bullseye Release = "bullseye"
)

// bootedFile is there when a host with sysvinit has started everything.
const bootedFile = "/run/fleet-booted"

// recipe rises when what customise does has changed.
const recipe = "2"

// software is what every host has installed; what a host does not need there
// is switched off.
var software = []string{
	"systemd", "systemd-sysv", "dbus", "nginx-light", "curl", "iproute2", "procps", "ca-certificates",
	"openssh-server", "python3", "python3-apt", "rsyslog", "rsyslog-gnutls", "haproxy",
}

// idle are units that a fleet's host has no use for, or that a test starts
// itself where it wants them.
var idle = []string{
	"ssh.service", "rsyslog.service", "haproxy.service", "systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer",
	"dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "getty@tty1.service",
}

func cacheDir() string {
	if dir := os.Getenv("RESTARTILKA_FLEET_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/restartilka-fleet"
}

// Root gives the folder of a root file system of the release with packages,
// made by debootstrap the first time (about a minute). It is shared by every
// host, read only.
func Root(release Release, packages []string) (string, error) {
	sum := sha256.Sum256([]byte(recipe + string(release) + strings.Join(packages, ",")))
	dir := filepath.Join(cacheDir(), fmt.Sprintf("%s-%x", release, sum[:6]))
	if err := os.MkdirAll(cacheDir(), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp := dir + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return "", err
	}
	mirror, err := mirror()
	if err != nil {
		return "", err
	}
	var include, exclude []string
	for _, name := range packages {
		if without, ok := strings.CutSuffix(name, "-"); ok {
			exclude = append(exclude, without)
		} else {
			include = append(include, name)
		}
	}
	args := []string{"--variant=minbase", "--include=" + strings.Join(include, ",")}
	if len(exclude) > 0 {
		args = append(args, "--exclude="+strings.Join(exclude, ","))
	}
	cmd := exec.CommandContext(context.Background(), "debootstrap", append(args, string(release), temp, mirror)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("debootstrap %s: %w\n%s", release, err, tail(string(out), 2000))
	}
	if err := customise(temp); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

// mirror is where this machine's own apt gets Debian from.
func mirror() (string, error) {
	out, err := exec.CommandContext(context.Background(), "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[1] == string(Bookworm) && f[2] == "main" && !strings.Contains(f[0], "security") {
			return f[0], nil
		}
	}
	return "", errors.New("apt on this machine knows no mirror of bookworm main (run apt-get update)")
}

// customise makes a root file system into one that many hosts can share.
func customise(root string) error {
	for _, unit := range idle {
		for _, dir := range []string{"multi-user.target.wants", "timers.target.wants", "sysinit.target.wants", "getty.target.wants"} {
			if err := os.Remove(filepath.Join(root, "etc/systemd/system", dir, unit)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, dir := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	if err := tellWhenBooted(root); err != nil {
		return err
	}
	for path, text := range map[string]string{
		"etc/machine-id":          "", // each boot gets one of its own
		"etc/resolv.conf":         "", // names are in /etc/hosts alone
		"etc/default/locale":      "LANG=C.UTF-8\n",
		"var/www/html/index.html": "hello\n",
	} {
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// terminals are the lines of inittab for consoles, which a fleet's host has none of.
var terminals = regexp.MustCompile(`(?m)^.*/sbin/getty.*\n`)

// tellWhenBooted lets sysvinit, where the root file system has it, make
// bootedFile as its last step.
func tellWhenBooted(root string) error {
	file := filepath.Join(root, "etc/inittab")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text := terminals.ReplaceAllString(string(b), "") + "fl:2345:once:/bin/touch " + bootedFile + "\n"
	return os.WriteFile(file, []byte(text), 0o644)
}

// tail gives the last n bytes of text.
func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}
