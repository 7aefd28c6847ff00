package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsAreTold: every command has a line of help, and stands in the
// reference.
func TestCommandsAreTold(t *testing.T) {
	b, err := os.ReadFile("../../docs/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: help %q", c.CommandPath(), c.Short)
		}
		if !c.HasSubCommands() && !strings.Contains(string(b), "`"+c.CommandPath()) {
			t.Errorf("docs/reference/cli.md does not tell of %s", c.CommandPath())
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(New())
}

func TestExtraCommandsCount(t *testing.T) {
	extra := &cobra.Command{Use: "extra", Short: "x", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if !asJSON(cmd) {
			return Exit(ExitPerson)
		}
		return nil
	}}
	var none strings.Builder
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"extra"}, ExitPerson}, {[]string{"extra", "--json"}, ExitDone}, {[]string{"extra", "x"}, ExitUsage}, {[]string{"extra", "--x"}, ExitUsage},
	} {
		if got := Main(t.Context(), c.args, strings.NewReader(""), &none, &none, extra); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.args, got, c.want)
		}
	}
}
