package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// chunkSize bounds the bytes that one row keeps, uncompressed.
	chunkSize = 256 << 10
	// outputPage bounds what one call of Output returns.
	outputPage = 1 << 20
)

// AppendOutput stores a piece of a task's output: data begins at offset of the
// whole output, or truncated bytes were dropped there. Pieces come in order;
// what lies before the end of what came earlier is there already and is
// skipped, so that a piece may be sent again, also cut differently. The first
// protocol.Head and the last protocol.Tail bytes are kept.
func (s *Store) AppendOutput(ctx context.Context, taskID string, offset int64, data []byte, truncated int64) error {
	if offset < 0 || truncated < 0 {
		return restart.Errorf(restart.CodeInvalid, "output of task %s begins before its beginning", restart.Quote(taskID))
	}
	return s.write(ctx, "store output of task "+taskID, func(ctx context.Context, t tx) error {
		var received int64 // the row is locked: one writer at a time for a task
		err := t.row(ctx, "INSERT INTO outputs (task_id, received) VALUES (?, 0) ON CONFLICT (task_id) DO UPDATE SET received = outputs.received RETURNING received", taskID).Scan(&received)
		if faultOf(err) == faultReference {
			return notFound("task", taskID)
		}
		if err != nil {
			return err
		}
		end := offset + int64(len(data)) + truncated
		if end <= received {
			return nil
		}
		if err := s.insertChunks(ctx, t, taskID, offset, received, end, data); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE outputs SET received = ? WHERE task_id = ?", end, taskID); err != nil {
			return err
		}
		if end <= protocol.Head+protocol.Tail {
			return nil
		}
		_, err = t.exec(ctx, "DELETE FROM output_chunks WHERE task_id = ? AND start_byte >= ? AND end_byte <= ?", taskID, protocol.Head, end-protocol.Tail)
		return err
	})
}

// OutputEnd tells where the stored output ends: the offset with which
// AppendOutput goes on.
func (s *Store) OutputEnd(ctx context.Context, taskID string) (offset int64, err error) {
	err = s.ask(ctx, "find the end of the output", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT received FROM outputs WHERE task_id = ?", taskID).Scan(&offset)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return offset, err
}

// insertChunks stores what of data lies behind received, in rows that do not
// cross the end of the head, and skips what the tail would drop at once.
func (s *Store) insertChunks(ctx context.Context, t tx, taskID string, offset, received, end int64, data []byte) error {
	if skip := received - offset; skip > 0 {
		data = data[min(skip, int64(len(data))):]
		offset = received
	}
	for len(data) > 0 {
		n := min(int64(len(data)), chunkSize)
		if offset < protocol.Head {
			n = min(n, protocol.Head-offset)
		}
		if dropped := offset >= protocol.Head && offset+n <= end-protocol.Tail; !dropped {
			body, err := s.packer.pack(data[:n])
			if err != nil {
				return err
			}
			if _, err := t.exec(ctx, "INSERT INTO output_chunks (task_id, start_byte, end_byte, body) VALUES (?, ?, ?, ?)", taskID, offset, offset+n, body); err != nil {
				return err
			}
		}
		offset, data = offset+n, data[n:]
	}
	return nil
}

// Output returns what is kept of a task's output from offset on, at most limit
// bytes of data (1 to 1 MiB; 0 = 1 MiB). Where bytes were dropped, a piece
// says how many. EOF is never set: whether more follows, the task's state
// tells. Nothing new is an empty answer, no such task CodeNotFound.
func (s *Store) Output(ctx context.Context, taskID string, offset int64, limit int) (pieces []protocol.Output, err error) {
	if limit <= 0 || limit > outputPage {
		limit = outputPage
	}
	offset = max(offset, 0)
	err = s.read(ctx, "read output of task", func(ctx context.Context, t tx) error {
		pieces, err = output(ctx, t, taskID, offset, int64(limit))
		return err
	})
	return pieces, err
}

func output(ctx context.Context, t tx, taskID string, offset, limit int64) ([]protocol.Output, error) {
	var received int64
	err := t.row(ctx, "SELECT COALESCE(outputs.received, 0) FROM tasks LEFT JOIN outputs ON outputs.task_id = tasks.id WHERE tasks.id = ?", taskID).Scan(&received)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("task", taskID)
	}
	if err != nil {
		return nil, err
	}
	type chunk struct {
		start, end int64
		body       []byte
	}
	var chunks []chunk
	var pieces []protocol.Output
	at := offset
	for left := limit; left > 0; {
		// A few rows at a time: chunks can be small, and a page must not read them all.
		rows, err := t.rows(ctx, "SELECT start_byte, end_byte, body FROM output_chunks WHERE task_id = ? AND end_byte > ? ORDER BY start_byte LIMIT 16", taskID, at)
		chunks, err = collect(rows, err, func(r *sql.Rows) (c chunk, err error) {
			err = r.Scan(&c.start, &c.end, &c.body)
			return c, err
		})
		if err != nil {
			return nil, err
		}
		if len(chunks) == 0 {
			if at < received {
				pieces = append(pieces, protocol.Output{Offset: at, Truncated: received - at})
			}
			break
		}
		for _, c := range chunks {
			if left <= 0 {
				break
			}
			if c.start > at {
				pieces = append(pieces, protocol.Output{Offset: at, Truncated: c.start - at})
				at = c.start
			}
			data, err := unpack(c.body)
			if err != nil {
				return nil, err
			}
			data = data[at-c.start:]
			data = data[:min(int64(len(data)), left)]
			pieces = append(pieces, protocol.Output{Offset: at, Data: slices.Clip(data)})
			at, left = at+int64(len(data)), left-int64(len(data))
		}
	}
	return pieces, nil
}
