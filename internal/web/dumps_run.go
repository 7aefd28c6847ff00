package web

import (
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// runSaid is what the thread dumps of a run say in short, on the page of the run.
type runSaid struct {
	URL, Name string
	Verdict   findingView
	Hosts     int    // that have dumps
	Poll      string // address to ask again while more may come; "" = none will
}

// runSaid gives the gravest that the dumps of a run say; nil where it has none,
// or for who may not look at them. A run that takes dumps says it as soon as the
// first is there.
func (s *site) runSaid(v *visit, run restart.Run) (*runSaid, error) {
	if run.StartedAt == nil || !s.cfg.Control.MayViewDumps(v.Context(), v.actor, run) {
		return nil, nil //nolint:nilnil // nothing to show is no error
	}
	list, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, wire.DumpQuery{Run: run.ID, Limit: wire.MaxPage})
	if err != nil {
		return nil, err
	}
	takes := run.Kind == restart.KindThreadDump
	if len(list) == 0 && (!takes || run.State.Final()) {
		return nil, nil //nolint:nilnil // nothing to show is no error
	}
	out := &runSaid{}
	if takes && !run.State.Final() {
		out.Poll = "/runs/" + run.ID
	}
	if len(list) == 0 {
		return out, nil
	}
	out.URL, out.Name = "/runs/"+run.ID+"/dumps", say(v.lang, "rundumps.evidence")
	latest := latestByHost(list)
	out.Hosts = len(latest)
	if takes {
		out.Name = say(v.lang, "rundumps.link")
		if f, ok := analyse.Together(verdicts(latest)); ok {
			out.Verdict = findingOf(v.lang, f)
		}
	}
	return out, nil
}

// latestByHost gives the newest dump of each host that was read, of those that
// a run took. The list has the newest first.
func latestByHost(list []wire.Dump) map[string]wire.Dump {
	out := map[string]wire.Dump{}
	for _, d := range list {
		if old, seen := out[d.Host]; d.Verdict != nil && (!seen || old.Origin == string(store.DumpAfter) && d.Origin != old.Origin) {
			out[d.Host] = d
		}
	}
	return out
}

// verdicts gives what each of these dumps says, by the host.
func verdicts(latest map[string]wire.Dump) map[string]analyse.Finding {
	out := map[string]analyse.Finding{}
	for host, d := range latest {
		out[host] = *d.Verdict
	}
	return out
}

// dumpsByTask gives the dumps of a run on one host, by the task that took them,
// the newest first; those that were asked for before any task with the first.
func (s *site) dumpsByTask(v *visit, run restart.Run, host string) (map[string][]wire.Dump, error) {
	if run.StartedAt == nil || !s.cfg.Control.MayViewDumps(v.Context(), v.actor, run) {
		return nil, nil
	}
	list, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, wire.DumpQuery{Run: run.ID, Host: host, Limit: wire.MaxPage})
	out := map[string][]wire.Dump{}
	for _, d := range list {
		task := d.Task
		if task == "" {
			for _, t := range run.Tasks {
				if t.Host == host && t.Attempt == 1 {
					task = t.ID
				}
			}
		}
		out[task] = append(out[task], d)
	}
	return out, err
}
