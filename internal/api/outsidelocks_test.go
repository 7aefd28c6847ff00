package api_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// keepers are locks that are shared with others, of which one can be given back.
type keepers struct {
	store func() *store.Store
	gives string

	mu      sync.Mutex
	patient time.Duration // how long they were waited for at most; 0 = for ever
}

func (k *keepers) Release(ctx context.Context, run restart.Run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, bounded := ctx.Deadline(); bounded {
		k.patient = time.Until(at)
	}
	_ = k.store().DropOutsideLock(ctx, run.ID, k.gives) // what is there still is seen in the answer
}

// Who releases a run's hold of its service is told what it gave back of others,
// and is not kept waiting by those who don't answer.
func TestReleaseTellsOfOthers(t *testing.T) {
	var s *apitest.Server
	others := &keepers{store: func() *store.Store { return s.Store }, gives: "reboots"}
	s = apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { c.Outside = others })
	anna, root := s.Token("anna", developer), s.Token("root", restart.RoleAdmin)
	s.Agents.Set("web1", apitest.Fails)
	run := draft(t, s, anna, "")
	start(t, s, anna, run.ID)
	until(t, s, anna, run.ID, restart.RunPaused)
	for _, name := range []string{"cluster", "reboots"} {
		row := store.OutsideLock{RunID: run.ID, Name: name, Kind: "fleetlock", Place: "group default", State: store.OutsideHeld, Server: "main", Since: time.Now()}
		if err := s.Store.KeepOutsideLock(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	got := decode[wire.List[wire.Lock]](t, s.Request("DELETE", "/api/v1/locks/"+run.ID+"?reason=anna+has+gone+home+and+the+shop+hangs", root, nil, nil), 200)
	if len(got.Items) != 1 || len(got.Items[0].Outside) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []wire.OutsideLock{{Name: "cluster", State: wire.OutsideLeft}, {Name: "reboots", State: wire.OutsideReleased}} {
		if o := got.Items[0].Outside[i]; o.Name != want.Name || o.State != want.State {
			t.Errorf("%+v, want %+v", o, want)
		}
	}
	others.mu.Lock()
	defer others.mu.Unlock()
	if others.patient <= 0 || others.patient > 5*time.Second {
		t.Errorf("those who keep the locks are waited for %s", others.patient)
	}
}
