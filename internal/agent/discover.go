package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/units"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

// Discover says which services this host sees, as drafts for its services.d.
// Nothing is changed. CodeUnavailable where systemd does not run, CodeBusy while
// another asks, CodeInvalid for a glob that is none.
func (a *Agent) Discover(ctx context.Context, ask protocol.DiscoverRequest) (protocol.DiscoverReport, error) {
	if !a.discovering.TryLock() { // each look starts programs
		return protocol.DiscoverReport{}, restart.Errorf(restart.CodeBusy, "this host is being looked at for another request").WithHint("ask again in a moment")
	}
	defer a.discovering.Unlock()
	if len(ask.Unit) > 256 {
		return protocol.DiscoverReport{}, restart.Errorf(restart.CodeInvalid, "the glob has more than 256 characters")
	}
	all, notes, err := a.cfg.Units.Look(ctx)
	if err != nil {
		return protocol.DiscoverReport{}, err
	}
	r, err := units.Choose(all, ask, listedUnits(a.cfg.Host.Services))
	if os.Geteuid() != 0 {
		notes = append(notes, "ports and runtimes are known only of this user's own processes: it is not root")
	}
	r.Version, r.Program, r.Host, r.Notes = protocol.Version, a.cfg.Program, a.cfg.Host.Name, notes
	return r, err
}

// listedUnits gives the services of services.d by their units. A file that
// can't be used lists nothing here; Check says what is wrong with it.
func listedUnits(dir string) map[string]string {
	names, err := host.ListServices(dir)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for _, name := range names {
		if s, err := host.ReadService(dir, name); err == nil && s.Unit != "" {
			out[s.Unit] = name
		}
	}
	return out
}

func (a *Agent) serveDiscover(w http.ResponseWriter, r *http.Request) error {
	deadline(w, units.LookTime+answerTime)
	return handle(w, r, func(ctx context.Context, _ string, in protocol.DiscoverRequest) (protocol.DiscoverReport, error) {
		return a.Discover(ctx, in)
	})
}

// DiscoverHere is Discover without a running agent, for a person on the host.
// It works before there are settings, too.
func DiscoverHere(ctx context.Context, config string, ask protocol.DiscoverRequest) (protocol.DiscoverReport, error) {
	s, err := LoadSettings(config)
	if errors.Is(err, fs.ErrNotExist) {
		s = defaults()
		if name, err := os.Hostname(); err == nil {
			s.Host = strings.ToLower(name)
		}
	} else if err != nil {
		return protocol.DiscoverReport{}, err
	}
	a := &Agent{cfg: Config{Host: s.HostFacts(), Program: version.Current().Version}}
	return a.Discover(ctx, ask)
}
