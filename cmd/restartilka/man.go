//go:build man

// Command restartilka, built with the tag man, is another program: it writes
// what is generated from the tree of commands, and is thrown away. What that
// needs is thereby no part of the program that is shipped.
//
//	man DIR SECONDS
//
// writes DIR/man1/restartilka*.1, dated SECONDS after 1970, and the completion
// of the three shells, DIR/restartilka.bash, DIR/_restartilka and
// DIR/restartilka.fish.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/version"
)

func main() {
	if err := writeManual(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "man: %v\n", err)
		os.Exit(1)
	}
}

func writeManual(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("wants DIR SECONDS, got %q", args)
	}
	seconds, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("the date: %w", err)
	}
	date := time.Unix(seconds, 0).UTC()
	dir := args[0]
	pages := filepath.Join(dir, "man1")
	if err := os.MkdirAll(pages, 0o755); err != nil {
		return err
	}
	root := cli.New(extra()...)
	root.InitDefaultCompletionCmd()
	undated(root)
	header := &doc.GenManHeader{Section: "1", Manual: "restartilka", Source: "restartilka " + version.Current().Version, Date: &date}
	if err := doc.GenManTree(root, header, pages); err != nil {
		return fmt.Errorf("write the manual: %w", err)
	}
	for name, write := range map[string]func(string) error{
		"restartilka.bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		"_restartilka":     root.GenZshCompletionFile,
		"restartilka.fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
	} {
		if err := write(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("write the completion: %w", err)
		}
	}
	return nil
}

// undated takes the day of the build out of every page.
func undated(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, child := range cmd.Commands() {
		undated(child)
	}
}
