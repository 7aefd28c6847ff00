package silence

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
)

// zabbix is a Zabbix server, by its JSON-RPC API with a token in the header, as
// since version 6.4. A silence is a maintenance of one host with data collection,
// that holds back problems with the tags of the alerts alone.
type zabbix struct {
	call *caller
	tag  string // of a problem, that has the name of the alert
}

func newZabbix(s System, c *caller) monitor {
	tag := s.AlertTag
	if tag == "" {
		tag = alertLabel
	}
	return &zabbix{call: c, tag: tag}
}

// What numbers mean there.
const (
	withData  = 0   // maintenance_type: data is collected as ever
	anyTag    = 2   // tags_evaltype: one of the tags is enough
	tagEquals = 0   // operator of a tag: the whole value
	onceOnly  = 0   // timeperiod_type
	shortest  = 300 // seconds that a period has at least; active_till ends it sooner
)

type zabbixTag struct {
	Tag      string `json:"tag"`
	Operator int    `json:"operator"`
	Value    string `json:"value"`
}

type zabbixPeriod struct {
	Type   int   `json:"timeperiod_type"`
	Start  int64 `json:"start_date"`
	Period int64 `json:"period"`
}

type zabbixHost struct {
	ID string `json:"hostid"`
}

type maintenance struct {
	Name        string         `json:"name"`
	Since       int64          `json:"active_since"`
	Till        int64          `json:"active_till"`
	Type        int            `json:"maintenance_type"`
	Description string         `json:"description"`
	Hosts       []zabbixHost   `json:"hosts"`
	Periods     []zabbixPeriod `json:"timeperiods"`
	TagsEval    int            `json:"tags_evaltype"`
	Tags        []zabbixTag    `json:"tags"`
}

// nameOf is the name of a task's maintenance, of which there is one: the API
// refuses a second of the same name.
func (*zabbix) nameOf(task string) string { return ours + " " + taskMark(task) }

func (z *zabbix) Place(ctx context.Context, w wanted) (string, error) {
	tags, err := z.tags(w.Alerts)
	if err != nil {
		return "", err
	}
	host, err := z.host(ctx, w.HostName)
	if err != nil {
		return "", err
	}
	// The API rounds down to minutes: what is to be silent begins no later, and
	// ends less than a minute later.
	since, till := w.From.Unix()/60*60, (w.EndsAt.Unix()+59)/60*60
	var made struct {
		IDs []string `json:"maintenanceids"`
	}
	doubted := false
	err = z.ask(ctx, &doubted, "maintenance.create", maintenance{
		Name: z.nameOf(w.Task), Since: since, Till: till, Type: withData, Description: w.Comment, Hosts: []zabbixHost{{host}},
		Periods: []zabbixPeriod{{Type: onceOnly, Start: since, Period: max(till-since, shortest)}}, TagsEval: anyTag, Tags: tags,
	}, &made)
	if err != nil && doubted { // the last address says no, perhaps because an earlier one has done it
		if there, look := z.named(ctx, w.Task); look == nil && len(there) == 1 && foreignID.MatchString(there[0]) {
			return there[0], nil
		}
	}
	switch {
	case err != nil:
		return "", err
	case len(made.IDs) != 1 || !foreignID.MatchString(made.IDs[0]):
		return "", z.odd()
	case doubted:
		return "", nil
	}
	return made.IDs[0], nil
}

// tags are of the alerts, by their whole names: a maintenance without tags would
// hold back every problem of the host.
func (z *zabbix) tags(alerts []string) ([]zabbixTag, error) {
	var out []zabbixTag
	for _, name := range alerts {
		if err := restart.CheckAlert(name); err != nil {
			return nil, err
		}
		out = append(out, zabbixTag{z.tag, tagEquals, name})
	}
	if len(out) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "no alert is named")
	}
	return out, nil
}

// host gives the id of a host, by its technical name.
func (z *zabbix) host(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", restart.Errorf(restart.CodeInvalid, "what monitoring calls the host is not known")
	}
	var found []zabbixHost
	err := z.rpc(ctx, "host.get", map[string]any{"output": []string{"hostid"}, "filter": map[string]any{"host": []string{name}}}, &found)
	switch {
	case err != nil:
		if e, ok := errors.AsType[*callError](err); ok && e.kind == doubtful {
			e.kind = unreached // nothing was asked for yet
		}
		return "", err
	case len(found) != 1 || found[0].ID == "":
		return "", &callError{kind: answered, Err: restart.Errorf(restart.CodeUnavailable, "monitoring system %s has no host %s, or does not show it to us", z.call.name, name)}
	}
	return found[0].ID, nil
}

// Lift deletes every maintenance of the task's name: what has ended by itself
// stays in Zabbix as well.
func (z *zabbix) Lift(ctx context.Context, s restart.Silence) error {
	ids, err := z.named(ctx, s.Task)
	if err != nil || len(ids) == 0 {
		return err
	}
	return z.rpc(ctx, "maintenance.delete", ids, nil)
}

// named gives the ids of the maintenances that have a task's name.
func (z *zabbix) named(ctx context.Context, task string) (ids []string, err error) {
	var found []struct {
		ID string `json:"maintenanceid"`
	}
	err = z.rpc(ctx, "maintenance.get", map[string]any{"output": []string{"maintenanceid"}, "filter": map[string]any{"name": []string{z.nameOf(task)}}}, &found)
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return ids, err
}

// Fades: a maintenance that is over stays in its lists.
func (*zabbix) Fades() bool { return false }

// rpc calls one method.
func (z *zabbix) rpc(ctx context.Context, method string, params, result any) error {
	return z.ask(ctx, nil, method, params, result)
}

// ask is rpc for what is not to be done twice: see request.doubted.
func (z *zabbix) ask(ctx context.Context, doubted *bool, method string, params, result any) error {
	var said struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Data    string `json:"data"`
		} `json:"error"`
	}
	body := map[string]any{"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
	return z.call.do(ctx, request{method: http.MethodPost, path: "api_jsonrpc.php", body: body, doubted: doubted}, func(r io.Reader) error {
		if err := into(&said)(r); err != nil {
			return err
		}
		switch {
		case said.Error != nil:
			why := restart.Errorf(restart.CodeUnavailable, "monitoring system %s refuses: %s", z.call.name, bounded(said.Error.Message+" "+said.Error.Data))
			return &callError{kind: answered, status: said.Error.Code, Err: why}
		case len(said.Result) == 0:
			return errors.New("neither a result nor an error")
		case result == nil:
			return nil
		}
		return json.Unmarshal(said.Result, result)
	})
}

// odd is an answer that says nothing that is understood.
func (z *zabbix) odd() error {
	return &callError{kind: doubtful, Err: restart.Errorf(restart.CodeUnavailable, "monitoring system %s answers with something else than was asked for", z.call.name)}
}
