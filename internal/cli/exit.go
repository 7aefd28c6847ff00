package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

// The exit codes: a contract with scripts.
const (
	ExitDone        = 0   // done
	ExitFailed      = 1   // the run failed or was aborted, a host was not restarted, or a check found something wrong
	ExitUsage       = 2   // the command line or a name in it is wrong; nothing was done
	ExitRefused     = 3   // refused: rights, review, freeze, reason, or the state of the run
	ExitUnreachable = 4   // the server, or what it needs, does not answer
	ExitPerson      = 5   // paused, or a host is unknown: a person is needed
	ExitInterrupted = 130 // Ctrl-C: detached, or left before anything was done
)

// exitCodes is the one table from error codes to exit codes.
var exitCodes = map[restart.Code]int{
	restart.CodeInvalid: ExitUsage, restart.CodeParam: ExitUsage, restart.CodeNotFound: ExitUsage, restart.CodeTooLarge: ExitUsage, restart.CodeUnknownService: ExitUsage,
	restart.CodeReason: ExitRefused, restart.CodeUnauthorised: ExitRefused, restart.CodeForbidden: ExitRefused, restart.CodeSignInAgain: ExitRefused, restart.CodeTooMany: ExitRefused, restart.CodeConflict: ExitRefused,
	restart.CodePlanChanged: ExitRefused, restart.CodeLocked: ExitRefused, restart.CodeNotReviewed: ExitRefused, restart.CodeBusy: ExitRefused,
	restart.CodeClockSkew: ExitRefused, restart.CodeReplay: ExitRefused, restart.CodeStaleEpoch: ExitRefused, restart.CodeBadSignature: ExitRefused,
	restart.CodeWrongHost: ExitRefused, restart.CodeWrongGroup: ExitRefused, restart.CodeNotInstalled: ExitRefused, restart.CodeTombstone: ExitRefused,
	restart.CodeAuditBacklog: ExitRefused, restart.CodeFrozen: ExitRefused, restart.CodeTicket: ExitRefused,
	restart.CodeUnavailable: ExitUnreachable, restart.CodeStopping: ExitUnreachable, restart.CodeDiskFull: ExitUnreachable, restart.CodeInternal: ExitUnreachable,
	restart.CodeUnreachable: ExitFailed, restart.CodeCertificate: ExitFailed, restart.CodeRevoked: ExitFailed, restart.CodeUnhealthy: ExitFailed,
}

// ExitError ends a command with a code. Err is said to the person; nil where
// everything has been said.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *ExitError) Unwrap() error { return e.Err }

// usage makes an error one of the command line.
func usage(err error) error { return &ExitError{Code: ExitUsage, Err: err} }

// ExitCode gives the code with which a command ends for err.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	if errors.Is(err, context.Canceled) {
		return ExitInterrupted
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return ExitUnreachable
	}
	if e, ok := errors.AsType[*restart.Error](err); ok {
		if code, known := exitCodes[e.Code]; known {
			return code
		}
	}
	return ExitFailed
}

// Exit ends a command with a code, everything having been said; nil for 0.
func Exit(code int) error {
	if code == ExitDone {
		return nil
	}
	return &ExitError{Code: code}
}

// runCodes is the exit code for each outcome of a run that has come to rest.
var runCodes = map[restart.Outcome]int{
	restart.OutcomeOpen: ExitDone, restart.OutcomeDone: ExitDone, restart.OutcomeFailed: ExitFailed, restart.OutcomeRejected: ExitRefused, restart.OutcomePerson: ExitPerson,
}

// runCode says how a run that has come to rest ends a command.
func runCode(run restart.Run) int { return runCodes[restart.OutcomeOf(run)] }

// report says what went wrong, and gives the exit code.
func report(cmd *cobra.Command, err error) int {
	code := ExitCode(err)
	if e, ok := errors.AsType[*ExitError](err); ok {
		if e.Err == nil {
			return code
		}
		err = e.Err
	}
	w := cmd.ErrOrStderr()
	if e, ok := errors.AsType[*restart.Error](err); ok {
		fmt.Fprintln(w, "restartilka: "+restart.Escape(e.Message))
		if e.Hint != "" {
			for i, line := range strings.Split(e.Hint, "\n") { // one host a line, where several have something to say
				fmt.Fprintln(w, []string{"hint: ", "      "}[min(i, 1)]+restart.Escape(line))
			}
		}
		return code
	}
	if code == ExitInterrupted {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(w, "restartilka: "+restart.Escape(err.Error()))
	if code == ExitUsage {
		fmt.Fprintf(w, "hint: %s --help\n", cmd.CommandPath())
	}
	return code
}
