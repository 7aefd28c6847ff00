package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/restart"
)

// tokenVariable is the environment variable that may hold a join token.
const tokenVariable = "RESTARTILKA_JOIN_TOKEN"

// maxToken bounds what is read in search of a token, in bytes.
const maxToken = 4 << 10

func join(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	f := newFlags("join", stderr)
	var o agent.JoinOptions
	var tokenFile string
	f.StringVar(&tokenFile, "token-file", "", "`file` with the join token; otherwise $"+tokenVariable+", otherwise it is asked for")
	f.StringVar(&o.CAFile, "ca", "", "know the server by the authorities in this `file` and its name, and not by the token, as behind a proxy")
	f.StringVar(&o.Host, "host", "", "this host's `name`, as in the inventory; otherwise its own full name")
	f.BoolVar(&o.Again, "again", false, "replace the credentials that this host has")
	// The URL may stand before the flags, as people write it.
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.URL, args = args[0], args[1:]
	}
	if f.Parse(args) != nil {
		return exitUsage
	}
	rest := f.Args()
	if o.URL == "" && len(rest) > 0 {
		o.URL, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 || o.URL == "" {
		fmt.Fprintln(stderr, "restartilka-agent join: one URL is wanted, such as https://restartilka.example.com:8443")
		return exitUsage
	}
	o.Config = f.config
	o.Say = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	var err error
	if o.Token, err = joinToken(tokenFile, stdin, stderr); err != nil {
		return fail(stderr, err)
	}
	joined, err := agent.Join(ctx, o)
	if err != nil {
		return fail(stderr, err)
	}
	if f.json {
		err = json.NewEncoder(stdout).Encode(joined)
	} else {
		err = printJoined(stdout, joined, start(ctx))
	}
	if err != nil {
		return fail(stderr, err)
	}
	return exitFine
}

// joinToken gets the token from where it was put: never from the command line,
// which every user of the host can read.
func joinToken(file string, stdin *os.File, stderr io.Writer) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", restart.Errorf(restart.CodeInvalid, "the join token can't be read: %v", err).Because(err)
		}
		defer f.Close() // read only
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(stderr, "others can read %s: remove it when the host has joined\n", file)
		}
		return firstLine(f)
	}
	if token := os.Getenv(tokenVariable); token != "" {
		return token, nil
	}
	state, err := unix.IoctlGetTermios(int(stdin.Fd()), unix.TCGETS)
	if err != nil { // a pipe, or a file
		return firstLine(stdin)
	}
	fmt.Fprint(stderr, "Join token (it is not shown): ")
	silent := *state
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(stdin.Fd()), unix.TCSETS, &silent); err != nil {
		return "", fmt.Errorf("ask for the join token: %w", err)
	}
	restore := func() {
		unix.IoctlSetTermios(int(stdin.Fd()), unix.TCSETS, state) //nolint:errcheck // the terminal has gone
		fmt.Fprintln(stderr)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(interrupted)
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := firstLine(stdin)
		got <- answer{text, err}
	}()
	defer restore()
	select {
	case a := <-got:
		return a.text, a.err
	case <-interrupted:
		return "", errors.New("interrupted; nothing was done")
	}
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxToken)).ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the join token: %w", err)
	}
	return "", restart.Errorf(restart.CodeInvalid, "no join token was given").
		WithHint("an admin makes one with: restartilka host join-token HOST; give it by --token-file, by $%s or on standard input", tokenVariable)
}

const (
	// startTime bounds the start of the agent; it takes a fraction of a second.
	startTime = 30 * time.Second
	// longestWait bounds the pauses between two starts; their sum is twice that.
	longestWait = 3 * time.Second
)

// started is how the agent's unit stands after the host has joined.
type started string

const (
	startedNot    started = "not"    // no unit waits for the files: a person starts the agent
	startedRuns   started = "runs"   //
	startedFailed started = "failed" // the unit says why
)

// start starts the agent where the package's path unit waits for the files, and
// waits until it serves: it would start by itself, a moment later.
func start(ctx context.Context) started {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	systemctl := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "/usr/bin/systemctl", args...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
		return cmd.Run()
	}
	const unit = "restartilka-agent.service"
	if systemctl("is-active", "--quiet", "restartilka-agent.path", unit) != nil { // one that is active is enough
		return startedNot
	}
	// A start that the path unit began before the last file was there ends
	// without an agent, and without an error; so once more.
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		if systemctl("start", unit) == nil && systemctl("is-active", "--quiet", unit) == nil {
			return startedRuns
		}
		if wait > longestWait {
			return startedFailed
		}
		select {
		case <-ctx.Done():
			return startedFailed
		case <-time.After(wait):
		}
	}
}

func printJoined(w io.Writer, j agent.Joined, how started) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has joined: its certificate is good until %s and is renewed by itself\n", j.Host, j.NotAfter.Format(time.DateOnly))
	for _, path := range j.Files {
		fmt.Fprintf(&b, "  %s\n", path)
	}
	for _, text := range j.Warnings {
		fmt.Fprintf(&b, "WARNING: %s\n", text)
	}
	next := map[started]string{
		startedNot:    "systemctl enable --now restartilka-agent",
		startedRuns:   "nothing: the agent runs",
		startedFailed: "systemctl status restartilka-agent (it did not start, and says why)",
	}[how]
	fmt.Fprintf(&b, "\nNext, here:              %s\nThen, as an admin:       restartilka hosts check %s\n", next, j.Host)
	_, err := io.WriteString(w, b.String())
	return err
}
