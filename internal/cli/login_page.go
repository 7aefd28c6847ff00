package cli

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/wire"
)

// loginByPage has a person confirm on a page of the server that this command
// line acts in his name, and gives the token that comes of it.
func loginByPage(ctx context.Context, cmd *cobra.Command, c *client.Client) (string, error) {
	started, err := c.BeginLogin(ctx, wire.LoginRequest{Client: thisClient()})
	if err != nil {
		return "", err
	}
	page := c.URL() + "/login"
	say(cmd, "Open this page in a browser, here or on any other machine, and sign in there:\n\n  %s/%s\n\nor open %s and type the code %s. It must show the same code.\nWaiting until %s; Ctrl-C gives up.",
		page, restart.Escape(started.Code), page, restart.Escape(started.Code), moment(&started.ExpiresAt))
	openBrowser(page + "/" + started.Code)
	interval := max(started.Interval.Std(), 100*time.Millisecond)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-timer.C:
		}
		answer, err := c.ClaimLogin(ctx, started.Secret)
		if err != nil {
			return "", err
		}
		if answer.Done && answer.Token != nil {
			return answer.Token.Secret, nil
		}
		timer.Reset(interval)
	}
}

// thisClient is what the page says of who asks.
func thisClient() string {
	name := "restartilka " + version.Current().Version
	if host, err := os.Hostname(); err == nil {
		name += " on " + host
	}
	return string([]rune(restart.Escape(name))[:min(128, len([]rune(restart.Escape(name))))])
}

// openBrowser opens a page where there is a desktop. Where that fails, the
// person has the address.
func openBrowser(page string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	} else if os.Getenv("DISPLAY")+os.Getenv("WAYLAND_DISPLAY") == "" {
		return
	}
	if path, err := exec.LookPath(program); err == nil && strings.HasPrefix(page, "https://") {
		opener := exec.Command(path, page) // which may live as long as the browser
		if opener.Start() == nil {
			opener.Process.Release() //nolint:errcheck // nobody waits for it
		}
	}
}
