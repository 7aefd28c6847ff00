package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Dump opens a thread dump of a task, packed as it lies in the spool, and tells
// its size in bytes. CodeNotFound where the task has none of that number.
func (a *Agent) Dump(_ context.Context, id string, n int) (io.ReadCloser, int64, error) {
	if _, err := a.find(id); err != nil {
		return nil, 0, err
	}
	if n >= 1 && n <= protocol.MaxDumps {
		r, size, err := a.cfg.Archive.Dump(id, n)
		if !errors.Is(err, fs.ErrNotExist) {
			return r, size, err
		}
		if _, err := a.find(id); err != nil { // forgotten just now
			return nil, 0, err
		}
	}
	return nil, 0, restart.Errorf(restart.CodeNotFound, "task %s has no thread dump %d", id, n).WithHint("its status lists those that there are")
}

// dumpPiece is how much of a dump must be taken within answerTime, in bytes.
const dumpPiece = 256 << 10

// serveDump answers with a dump as it lies in the spool, piece by piece.
func (a *Agent) serveDump(w http.ResponseWriter, r *http.Request) error {
	id, number := r.PathValue("id"), r.PathValue("n")
	n, err := strconv.Atoi(number)
	if err != nil || strconv.Itoa(n) != number {
		return restart.Errorf(restart.CodeInvalid, "%s is not the number of a dump", restart.Quote(number))
	}
	dump, size, err := a.Dump(r.Context(), id, n)
	if err != nil {
		return err
	}
	defer dump.Close()
	w.Header().Set("Content-Type", protocol.ContentDump)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	err = pieces(w, dump)
	if err != nil && r.Context().Err() == nil { // the length says to the peer that it is not whole
		a.cfg.Logger.Info("a dump broke off", "task_id", id, "number", n, "error", err)
	}
	return nil
}

// pieces copies an answer that may be long: each piece has its own time.
func pieces(w http.ResponseWriter, from io.Reader) error {
	for {
		deadline(w, answerTime)
		switch _, err := io.CopyN(w, from, dumpPiece); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
