package spool

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func FuzzStageFiles(f *testing.F) {
	now := time.Now()
	e := protocol.Envelope{Version: 1, Task: restart.NewID(now), Run: restart.NewID(now), Host: "web1", Service: "nginx"}
	payload, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(Received{Sealed: protocol.Sealed{Payload: payload}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"at":"2026-01-02T03:04:05Z","boot_id":"b","void":true}`))
	f.Add([]byte(`{"task":"01m81md7nggqn1jspgfe752rn6","stage":"done","revision":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeReceived(b); err == nil {
			e, err := r.Envelope()
			if err != nil || restart.CheckID(e.Task) != nil || restart.CheckServiceName(e.Service) != nil {
				t.Errorf("%+v, %v", e, err)
			}
		}
		decodeStarted(b) // it must not panic
		decodeStatus(b)  // it must not panic
		decodeEpoch(b)   // it must not panic
		if t2, err := decodeTombstone(b); err == nil && restart.CheckID(t2.Task) != nil {
			t.Errorf("%+v", t2)
		}
	})
}
