package audittest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// NewExample prepares a receiver by the configuration of that name in
// examples/remote-log, with nothing changed but files, port and address:
// "rsyslog.conf", which takes RELP, or "syslog-ng.conf", which takes syslog over
// TLS. Either asks for a client certificate, of the name server-1. It skips, and
// fails in CI, as NewRsyslog does.
func NewExample(t T, name string) *Rsyslog {
	t.Helper()
	root := repository(t)
	var command, environment []string
	var before string
	r := prepare(t)
	switch name {
	case "rsyslog.conf":
		if found, _ := filepath.Glob("/usr/lib/*/rsyslog/imrelp.so"); len(found) == 0 {
			needs(t, "rsyslog rsyslog-relp")
		}
		before = "global(workDirectory=\"" + r.dir + "\")\n" // as Debian's own rsyslog.conf has one
		command = r.command
	case "syslog-ng.conf":
		command, environment = syslogNG(t, root)
		command = append(command, "-F", "--no-caps", "-f", r.path(name), "-R", r.path("persist"), "-c", r.path("control"), "-p", r.path("pid"))
	default:
		t.Fatalf("there is no example %s", name)
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", "remote-log", name))
	r.must(err)
	config := strings.NewReplacer(
		"/etc/restartilka-log/", r.dir+"/", "/var/log/restartilka/audit.jsonl", r.StoredFile(),
		`port="2514"`, `address="127.0.0.1" port="`+r.port()+`"`, `ip("0.0.0.0") port(6514)`, `ip("127.0.0.1") port(`+r.port()+`)`,
	).Replace(string(text))
	if config == string(text) {
		t.Fatalf("%s names none of the files and ports that are known", name)
	}
	r.Write(filepath.Base(name), []byte(before+config))
	r.command, r.environment = command, environment
	return r
}

// syslogNG finds syslog-ng: the one that is installed, or, as Debian has only
// one log server installed at once, the one that scripts/syslog-ng.sh unpacks.
func syslogNG(t T, root string) (command, environment []string) {
	t.Helper()
	if path, err := exec.LookPath("syslog-ng"); err == nil {
		return []string{path}, nil
	}
	dir := filepath.Join(root, ".cache", "syslog-ng")
	program := filepath.Join(dir, "usr", "sbin", "syslog-ng")
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs: scripts/syslog-ng.sh")
		}
		t.Skipf("NOT TESTED against a real syslog-ng: scripts/syslog-ng.sh unpacks one")
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "usr", "lib", "*-linux-gnu"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(dir, "lib", "*-linux-gnu"))
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "usr", "lib", "syslog-ng")
	modules, err := filepath.Glob(filepath.Join(own, "[0-9]*"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("%s has no modules: %v", own, err)
	}
	libraries = append(append(libraries, more...), own)
	return []string{program, "--module-path=" + modules[0]}, append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
}

// repository gives the folder of go.mod.
func repository(t T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod in any folder above")
		}
		dir = filepath.Dir(dir)
	}
}
