package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// commandsOf gives the blocks of commands in a chapter of docs/operations.md.
func commandsOf(t *testing.T, chapter string) (blocks []string) {
	t.Helper()
	_, text, _ := strings.Cut(readFile(t, "../../docs/operations.md"), "\n## "+chapter+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, found := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, found[1])
	}
	if len(blocks) != 1 {
		t.Fatalf("docs/operations.md has %d blocks of commands in %s", len(blocks), chapter)
	}
	return blocks
}

// doCommands runs commands of the document in the server's folder, with what is
// different here.
func doCommands(t *testing.T, c *company.Company, script string, here ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-euc", strings.NewReplacer(here...).Replace(script))
	cmd.Dir = c.ServerDir()
	cmd.Env = append(os.Environ(), "RESTARTILKA_URL="+c.URL, "RESTARTILKA_CA="+c.CA, "RESTARTILKA_TOKEN="+c.DevToken)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, cmd.Args[2], out)
	}
	return string(out)
}

// The database is backed up and restored by the very commands of docs/operations.md.
func TestTheDocumentsBackupAndRestore(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: time.Second})
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	// What is different here: where it lies, and that no systemd runs the server.
	program := c.Programs.Server
	here := []string{
		"/var/backups", c.Dir, "restartilka backup verify", program + " backup verify", "restartilka backup", program + " backup --config " + c.Config(),
		"restartilka restore", program + " restore --config " + c.Config(), "restartilka runs", program + " runs",
	}
	if out := doCommands(t, c, commandsOf(t, "Backup")[0], here...); strings.Count(out, "sha256") != 2 {
		t.Errorf("%s", out)
	}
	restore := commandsOf(t, "Restore")[0]
	stop, rest, _ := strings.Cut(restore, "restartilka restore")
	put, look, _ := strings.Cut(rest, "systemctl start restartilka\n")
	if stop != "systemctl stop restartilka\n" {
		t.Fatalf("it begins with %q", stop)
	}
	c.StopServer()
	doCommands(t, c, "restartilka restore"+put, here...)
	c.StartServer()
	if out := doCommands(t, c, look, here...); !strings.Contains(out, run.ID) {
		t.Errorf("%s does not list %s:\n%s", look, run.ID, out)
	}
	account(t, c, settle(t, c, run.ID))
	// The sum, without this program.
	found, err := filepath.Glob(filepath.Join(c.Dir, "restartilka-2*"))
	must(t, err)
	if len(found) != 1 || !strings.Contains(readFile(t, "../../docs/operations.md"), "zcat FILE | head -n -1 | sha256sum") {
		t.Fatalf("backups: %v", found)
	}
	doCommands(t, c, `[ "$(zcat FILE | head -n -1 | sha256sum | cut -c 1-64)" = "$(zcat FILE | tail -n 1 | cut -c 12-75)" ]`, "FILE", found[0])
}

// One more server is made by the very commands of docs/operations.md.
func TestTheDocumentsSecondServer(t *testing.T) {
	t.Parallel()
	company.NewPKI(t) // for its demand of openssl
	c, second, _ := several(t)
	made := commandsOf(t, "Several servers")[0]
	address := strings.TrimSuffix(strings.TrimPrefix(second.URL, "https://"), ":8443")
	doCommands(t, c, made, "two.example.com", "two.example.com,IP:"+address, "two-", second.Name+"-", "/two", "/"+second.Name)
	run := begun(t, c, second)
	c.KillServer()
	c.Release()
	x := second.Client(c.DevToken)
	until(t, c, x, run.ID, restart.RunPaused)
	if _, err := x.Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	account(t, c, until(t, c, x, run.ID, restart.RunCompleted))
}
