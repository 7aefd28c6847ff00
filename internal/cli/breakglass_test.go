package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

// Who breaks the glass types the service's name: a y does not do.
func TestConfirmGlass(t *testing.T) {
	plan := restart.Plan{Kind: restart.KindRestart, Service: restart.Service{Name: "shop"}, Hosts: []restart.PlannedHost{{}, {LeftOut: true}}}
	for typed, want := range map[string]bool{"shop\n": true, "  shop \n": true, "y\n": false, "yes\n": false, "": false, "shopp\n": false, "SHOP\n": false} {
		var talk bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetIn(strings.NewReader(typed))
		cmd.SetErr(&talk)
		err := confirmGlass(t.Context(), cmd, plan)
		if (err == nil) != want || err != nil && ExitCode(err) != ExitUsage {
			t.Errorf("%q: %v", typed, err)
		}
		if text := talk.String(); !strings.Contains(text, "restart shop on 1 host?") || !strings.Contains(text, "reviewed afterwards") {
			t.Errorf("it asks: %s", text)
		}
	}
}
