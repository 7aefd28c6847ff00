package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func auditTailCommand() *cobra.Command {
	q := wire.AuditQuery{Newest: true}
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest records, the newest last; with -f those to come, too",
		Example: `  restartilka audit tail -n 50
  restartilka audit tail -f --service nginx
  restartilka audit tail -f --json    # a record a line, in its canonical bytes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkAuditQuery(q); err != nil {
				return usage(err)
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if follow {
				return followAudit(cmd.Context(), cmd.OutOrStdout(), c, q, asJSON(cmd), pauseBetween)
			}
			list, err := searchAudit(cmd.Context(), c, q)
			if err != nil {
				return err
			}
			slices.Reverse(list.Items)
			return writeAudit(cmd, list)
		},
	}
	auditFlags(cmd, &q)
	cmd.Flags().IntVarP(&q.Limit, "lines", "n", 20, "so many records, up to 200")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those to come, each once it has its place in the chain")
	return cmd
}

// pauseBetween waits between two looks at the trail.
func pauseBetween(ctx context.Context) error {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// followAudit prints the newest records and then those to come, until ctx is
// over. A server that is away for a while is asked again.
func followAudit(ctx context.Context, w io.Writer, c *client.Client, q wire.AuditQuery, lines bool, pause func(context.Context) error) error {
	f, fresh, err := beginToFollow(ctx, c, q)
	for {
		var away *client.UnreachableError
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (f == nil || !errors.As(err, &away)):
			return err
		}
		if _, err := w.Write(printed(fresh, lines)); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if err := pause(ctx); err != nil {
			return nil //nolint:nilerr // the person has seen enough
		}
		fresh, err = f.look(ctx)
	}
}

// printed gives records as lines: their bytes, or for people.
func printed(records []audit.Record, lines bool) []byte {
	var b bytes.Buffer
	for _, r := range records {
		if lines {
			b.Write(append(r.Canonical(), '\n'))
			continue
		}
		row := recordRow(r)
		for i := range row {
			row[i] = restart.Escape(row[i])
		}
		fmt.Fprintln(&b, strings.Join(row, "  "))
	}
	return b.Bytes()
}

// follower asks for what was stored behind a place that lies some looks back,
// and leaves out what it has given: a record may be committed after one that was
// stored later.
type follower struct {
	client *client.Client
	query  wire.AuditQuery
	ends   []string        // cursors of the last looks, the oldest first
	given  map[string]bool // records behind the oldest of them, by source, epoch and number
}

const (
	looksBack = 5
	startBack = 50 // records before the end of the trail
)

// beginToFollow gives the newest records, the newest last, and the follower of
// those behind them.
func beginToFollow(ctx context.Context, c *client.Client, q wire.AuditQuery) (*follower, []audit.Record, error) {
	f := &follower{client: c, query: q, given: map[string]bool{}}
	end, err := c.Audit(ctx, wire.AuditQuery{Stored: true, Newest: true, Seals: true, Limit: startBack})
	if err != nil {
		return nil, nil, err
	}
	f.ends = []string{end.Next}
	list, err := searchAudit(ctx, c, q)
	if err != nil {
		return nil, nil, err
	}
	var fresh []audit.Record
	for _, r := range append(slices.Clone(end.Items), list.Items...) {
		f.given[placeKey(r)] = r.Seq > 0
	}
	for _, r := range slices.Backward(list.Items) {
		if r.Seq > 0 { // the others are told once they have their place
			fresh = append(fresh, r)
		}
	}
	f.query.Newest, f.query.Stored, f.query.Limit = false, true, wire.MaxPage
	return f, fresh, nil
}

func placeKey(r audit.Record) string { return fmt.Sprintf("%s %d %d", r.Source, r.Epoch, r.Seq) }

// look gives records that were not given before, in the order of storing.
func (f *follower) look(ctx context.Context) (fresh []audit.Record, err error) {
	q, now := f.query, map[string]bool{}
	for q.After = f.ends[0]; ; {
		list, err := f.client.Audit(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range list.Items {
			if r.Seq == 0 {
				continue
			}
			if key := placeKey(r); !f.given[key] && !now[key] {
				fresh = append(fresh, r)
			}
			now[placeKey(r)] = true
		}
		if list.Next == "" || list.Next == q.After {
			break
		}
		q.After = list.Next
	}
	f.given = now
	if f.ends = append(f.ends, q.After); len(f.ends) > looksBack {
		f.ends = f.ends[1:]
	}
	return fresh, nil
}
