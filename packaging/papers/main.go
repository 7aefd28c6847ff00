// Command papers writes the papers that go into a package: what changed, and
// under which licences its program may be used. packaging/build.sh runs it in
// the project's root; both write to standard output, and the same tree gives
// the same bytes.
//
//	papers date                                seconds since 1970 of the last release in CHANGELOG.md
//	papers changelog NAME VERSION SECONDS      CHANGELOG.md as a Debian changelog
//	papers copyright ./cmd/NAME [FILE=WHAT]…   machine-readable copyright (DEP 5) of a program, of all
//	                                           modules linked into it, and of vendored files by their licence FILE
package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

const maintainer = "The restartilka authors <restartilka@users.noreply.github.com>"

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "papers: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "date":
		return date(w)
	case len(args) == 4 && args[0] == "changelog":
		return changelog(w, args[1], args[2], args[3])
	case len(args) >= 2 && args[0] == "copyright":
		return copyright(ctx, w, args[1], args[2:])
	}
	return fmt.Errorf("wants date, changelog NAME VERSION SECONDS or copyright ./cmd/NAME, got %q", args)
}
