package main

import (
	"io"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
)

// A simulated host's spool is a real one in a folder of its own, which is open
// from its first use until its task is buried: ten thousand open ones would be
// over what a process may have open in many places. It does everything but
// fsync.

func noSync(int) error { return nil }

// withSpool uses the host's spool.
func withSpool[T any](h *simulated, use func(*spool.Spool) (T, error)) (T, error) {
	h.spooling.Lock()
	defer h.spooling.Unlock()
	if h.open == nil {
		s, err := spool.Open(spool.Config{Dir: h.spool, Sync: noSync})
		if err != nil {
			var none T
			return none, err
		}
		h.open = s
	}
	return use(h.open)
}

func doSpool(h *simulated, do func(*spool.Spool) error) error {
	_, err := withSpool(h, func(s *spool.Spool) (struct{}, error) { return struct{}{}, do(s) })
	return err
}

func (h *simulated) Load() (spool.Contents, error) {
	return withSpool(h, func(s *spool.Spool) (spool.Contents, error) { return s.Load() })
}

func (h *simulated) Read(id string) (spool.Record, error) {
	return withSpool(h, func(s *spool.Spool) (spool.Record, error) { return s.Read(id) })
}

func (h *simulated) Receive(e protocol.Envelope, r spool.Received) error {
	return doSpool(h, func(s *spool.Spool) error { return s.Receive(e, r) })
}

func (h *simulated) Raise(id string, epoch int64) error {
	return doSpool(h, func(s *spool.Spool) error { return s.Raise(id, epoch) })
}

func (h *simulated) Settle(id string, final protocol.TaskStatus, void spool.Started) (protocol.TaskStatus, error) {
	return withSpool(h, func(s *spool.Spool) (protocol.TaskStatus, error) { return s.Settle(id, final, void) })
}

func (h *simulated) Bury(t spool.Tombstone) error {
	return doSpool(h, func(s *spool.Spool) error {
		defer func() {
			h.open = nil
			s.Close()
		}()
		return s.Bury(t)
	})
}

func (h *simulated) Evidence(id string) ([]protocol.EvidenceItem, error) {
	return withSpool(h, func(s *spool.Spool) ([]protocol.EvidenceItem, error) { return s.Evidence(id) })
}

func (h *simulated) OutputSize(id string) (int64, error) {
	return withSpool(h, func(s *spool.Spool) (int64, error) { return s.OutputSize(id) })
}

func (h *simulated) ReadOutput(id string, offset, size int64) (protocol.Output, error) {
	return withSpool(h, func(s *spool.Spool) (protocol.Output, error) { return s.ReadOutput(id, offset, size) })
}

func (h *simulated) Dump(id string, n int) (io.ReadCloser, int64, error) {
	type opened struct {
		io.ReadCloser
		size int64
	}
	o, err := withSpool(h, func(s *spool.Spool) (opened, error) {
		r, size, err := s.Dump(id, n)
		return opened{r, size}, err
	})
	return o.ReadCloser, o.size, err
}

func (h *simulated) Prune(ids []string) error {
	return doSpool(h, func(s *spool.Spool) error { return s.Prune(ids) })
}
