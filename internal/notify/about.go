package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// mostNamed bounds the hosts that a message names.
const mostNamed = 100

// About tells of a run as it stands after an event; url is the server's own. A
// run without a plan names no hosts.
func About(event string, at time.Time, run restart.Run, url string) wire.Notification {
	n := wire.Notification{
		ID: restart.NewID(at), Event: event, At: at, Run: run.ID, URL: url + "/runs/" + run.ID,
		Service: run.Service, Environment: run.Environment, Group: run.Group, Scenario: run.Scenario, Kind: run.Kind, Work: run.Work,
		Actor: run.Actor, Reason: run.Reason, Ticket: run.Ticket, Owners: []string{}, Hosts: []string{},
		State: run.State, Cause: run.Cause, Explanation: run.Explanation, StartedAt: run.StartedAt, FinishedAt: run.FinishedAt,
	}
	if run.Plan != nil {
		chosen := run.Plan.Chosen()
		n.Owners, n.HostCount = append(n.Owners, run.Plan.Service.Owners...), len(chosen)
		for _, h := range chosen[:min(len(chosen), mostNamed)] {
			n.Hosts = append(n.Hosts, h.Name)
		}
	}
	for _, t := range restart.Latest(run.Tasks) {
		if n.Tasks == nil {
			n.Tasks = map[restart.TaskState]int{}
		}
		n.Tasks[t.State]++
		if t.Counts() && len(n.Trouble) < mostNamed {
			n.Trouble = append(n.Trouble, t.Host)
		}
	}
	return n
}

// Message is a notification on its way to receivers; ok is false where there
// are none.
func Message(n wire.Notification, receivers []string) (m store.Message, ok bool, err error) {
	if len(receivers) == 0 {
		return m, false, nil
	}
	body, err := json.Marshal(n)
	if err != nil {
		return m, false, fmt.Errorf("encode a message: %w", err)
	}
	return store.Message{ID: n.ID, Event: n.Event, Subject: n.Run, Channels: slices.Clone(receivers), Body: body}, true, nil
}
