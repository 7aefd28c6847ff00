package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/store"
)

// recorded gives the records of an action, the newest first.
func (s *served) recorded(action audit.Action) []audit.Record {
	s.t.Helper()
	status, body := s.get("/api/v1/audit?newest=true&action="+string(action), s.token)
	var list struct{ Items []audit.Record }
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 {
		s.t.Fatalf("%d %v %s", status, err, body)
	}
	return list.Items
}

// end stops the server and waits for it.
func (s *served) end() {
	s.stop()
	err := s.over()
	s.ended <- err
}

// By which configuration a server runs is on record whenever it is another one,
// and who has taken a backup of its database away.
func TestConfigurationIsOnRecord(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	longer := func(cfg *server.Config) { cfg.Runs.Lease = 2 * time.Minute }
	for i, c := range []struct {
		edit   func(*server.Config)
		count  int
		detail string
	}{
		{nil, 1, "the first one on record; the trail goes to: file /"},
		{nil, 1, "the first one on record"},
		{longer, 2, "other than before: runs; the trail goes to: file /"},
		{longer, 2, "other than before: runs"},
		{nil, 3, "other than before: runs"},
	} {
		s := serveAgain(t, r, c.edit)
		s.becomes(200, "ready")
		records := s.recorded(audit.ConfigChanged)
		if len(records) != c.count || !strings.HasPrefix(records[0].Detail, c.detail) {
			t.Fatalf("start %d: %d records, %+v", i, len(records), records[0])
		}
		if p := records[0].Params; len(p["config"]) != 64 || p["envelope_key"] == "" || c.count > 1 && p["config_before"] != records[1].Params["config"] {
			t.Errorf("start %d: %v", i, p)
		}
		if i == 0 {
			s.backedUp(r)
		}
		s.end()
	}
}

// However many seals lie between two starts, the second knows what the first
// has said.
func TestConfigurationIsFoundBehindManySeals(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	s := serveAgain(t, r, nil)
	s.becomes(200, "ready")
	s.end()
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + cfg.Database.SQLite, Source: cfg.Name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	seals := make([]audit.Record, 8100)
	for i := range seals {
		seals[i] = audit.Record{Time: time.Now().UTC(), Actor: "server:" + cfg.Name, Origin: "local", Action: audit.ServerStarted}
	}
	if err := errors.Join(db.AppendAudit(t.Context(), seals...), db.Close()); err != nil {
		t.Fatal(err)
	}
	s = serveAgain(t, r, nil)
	s.becomes(200, "ready")
	if records := s.recorded(audit.ConfigChanged); len(records) != 1 {
		t.Errorf("it is said anew: %+v", records)
	}
}

// backedUp takes a backup beside the server, which gives the record its place.
func (s *served) backedUp(r server.InitResult) {
	s.t.Helper()
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	var b bytes.Buffer
	if _, _, unrecorded, err := server.Backup(s.t.Context(), cfg, &b, "olga", true, func(int64, int64) {}); err != nil || unrecorded != nil {
		s.t.Fatal(err, unrecorded)
	}
	records := s.recorded(audit.ServerBackedUp)
	if len(records) != 1 || records[0].Actor != "olga" || records[0].Detail != "the whole database, without output of scripts" {
		s.t.Errorf("%+v", records)
	}
	cfg.Database.SQLite += ".gone"
	if _, _, unrecorded, err := server.Backup(s.t.Context(), cfg, &b, "olga", true, func(int64, int64) {}); err == nil || unrecorded == nil {
		s.t.Errorf("of no database: %v, %v", unrecorded, err)
	}
}
