package security

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// command is one command line and its row of the matrix; the names in braces
// are those of verb.
type command struct{ row, line string }

const because = `--reason "workers hang since the deploy"`

func commands() []command {
	return []command{
		{"see", "show {run}"},
		{"see", "show {run} --host {host}"},
		{"see", "watch {run}"},
		{"restart", "restart {service} --plan " + because},
		{"restart", "run plain-restart {service} --plan " + because},
		{"dump", "dump {service} --scenario plain-dump --plan " + because},
		{"dump", "run plain-dump {service} --plan " + because},
		{"approve", "approve {run} --yes " + because},
		{"approve", "reject {run} " + because},
		{"control", "pause {run}"},
		{"control", "abort {run}"},
		{"control", "force-abort {run}"},
		{"restart", "resume {run}"},
		{"restart", "decide {run} {host} happened " + because},
		{"restart", "retry {run} --plan " + because},
		{"restart", "undrain {run} --plan " + because},

		{"look", "whoami"},
		{"look", "inventory"},
		{"look", "services"},
		{"look", "groups"},
		{"look", "hosts"},
		{"look", "hosts check web1"},
		{"look", "locks"},
		{"look", "approvals"},
		{"look", "runs"},
		{"look", "scenario list"},
		{"look", "scenario show {digest}"},
		{"look", "freeze list"},
		{"look", "break-glass list"},
		{"look", "token list"},
		{"look", "token create mine"},
		{"look", "whocan restart --all --csv"},
		{"look", "why me restart own"},
		{"ask-of", "why kate restart own"},
		{"freeze", `freeze add --env production --weekly "sun 03:00-sun 03:01" ` + because},
		{"freeze", "freeze remove 00000000000000000000000000 " + because},
		{"review-glass", `break-glass review {run} --note "it was needed, and it helped"`},
		{"audit", "audit search"},
		{"audit", "audit tail"},
		{"administer", "token create gift --owner kate"},
		{"others-token", "token revoke {token}"},
		{"administer", "hosts discover web1"},
		{"administer", "host certificates"},
		{"administer", "host revoke web1 " + because},
		{"administer", "host join-token web9.example.com"},
		{"administer", "host join-token list"},
		{"administer", "host join-token revoke 00000000000000000000000000"},
		{"administer", "notify list"},
		{"administer", "notify test none"},
	}
}

// argv splits a line at spaces, but not within double quotes.
func argv(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// run asks by the command line, and gives the letter of what it said.
func (w *world) run(t *testing.T, program, person, line string) (letter, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, argv(line)...)
	cmd.Env = []string{"RESTARTILKA_URL=" + w.URL, "RESTARTILKA_CA=" + w.CAFile, "RESTARTILKA_TOKEN=" + w.tokens[person], "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TZ=UTC"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		must(t, err)
	}
	return letterOf(code, out.String()), out.String()
}

// letterOf reads the end of a command as one letter of the matrix.
func letterOf(code int, said string) string {
	has := func(texts ...string) bool {
		for _, x := range texts {
			if strings.Contains(said, x) {
				return true
			}
		}
		return false
	}
	switch {
	case code == 0: // whatever else is told: the audit trail quotes refusals
		return "+"
	case code == 4:
		return "!"
	case code == 3 && has("the token is not valid", "there is no token for"):
		return "0"
	case code == 3 && has(" may not ", "only an admin", "what others may"):
		return "-"
	case has("you have no token"):
		return "."
	}
	return "+"
}

// TestMatrixOfTheCommandLine asks by the real command line as everybody, of
// every service.
func TestMatrixOfTheCommandLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	program := company.Build(t).Server
	for _, p := range w.people {
		for _, c := range commands() {
			cell, got, said := w.cells[c.row][p], "", ""
			of := services
			if len(cell) == 1 {
				of = services[:1]
			}
			for _, s := range of {
				l, text := w.run(t, program, p, w.fill(c.line, s))
				got, said = got+l, said+text
				if l == "+" && c.row == "others-token" {
					w.other = w.again()
				}
				if l == "-" && !strings.Contains(text, "hint: ") && !strings.Contains(text, "only an admin") {
					t.Errorf("%s: %s does not say who could: %s", p, c.line, text)
				}
			}
			if got != cell {
				t.Errorf("%s as %s: %s: got %s, want %s\n%s", c.row, p, c.line, got, cell, said)
			}
		}
	}
}

// TestMatrixOfBrokenGlassByTheCommandLine starts past a freeze.
func TestMatrixOfBrokenGlassByTheCommandLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	program := company.Build(t).Server
	as[wire.Freeze](w, "POST", v1+"/freezes", `{"environments":["production"],"to":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`",`+reasonJSON+`}`)
	for _, p := range w.people {
		got, said := "", ""
		for _, s := range services {
			l, text := w.run(t, program, p, "restart "+s+" --yes --detach --break-glass "+because)
			got, said = got+l, said+text
		}
		if want := w.cells["break-glass"][p]; got != want {
			t.Errorf("%s: got %s, want %s\n%s", p, got, want, said)
		}
	}
}
