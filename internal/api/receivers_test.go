package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/slack"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// TestReceiversAreTried against a real one: by admins, on the record, and what
// it says is told without its token.
func TestReceiversAreTried(t *testing.T) {
	room := slack.Start(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(slack.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.Start(t, nil)
	var err error
	s.Receivers, err = notify.Settings{Slack: []notify.Slack{{
		Choice: notify.Choice{Label: "ops-chat", Events: []string{wire.EventRunFailed}}, URL: room.URL, Channel: "ops", TokenFile: token,
	}}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	root, anna := s.Token("root", admin), s.Token("anna", developer)
	problem(t, s.Request("GET", "/api/v1/receivers", anna, nil, nil), 403)
	problem(t, s.Request("POST", "/api/v1/receivers/ops-chat/test", anna, nil, nil), 403)
	list := decode[wire.List[wire.Receiver]](t, s.Request("GET", "/api/v1/receivers", root, nil, nil), 200)
	if len(list.Items) != 1 || list.Items[0].Name != "ops-chat" || list.Items[0].Kind != "slack" || list.Items[0].Address != "slack ops" {
		t.Fatalf("receivers: %+v", list.Items)
	}
	if p := problem(t, s.Request("POST", "/api/v1/receivers/other/test", root, nil, nil), 404); !strings.Contains(p.Hint, "ops-chat") {
		t.Errorf("%+v", p)
	}
	for _, name := range []string{"ops-chat", list.Items[0].ID} {
		if result := decode[wire.ReceiverTest](t, s.Request("POST", "/api/v1/receivers/"+name+"/test", root, nil, nil), 200); !result.Taken || result.Receiver != "ops-chat" {
			t.Errorf("%+v", result)
		}
	}
	if got := room.Messages(slack.Channel); len(got) != 2 || !strings.Contains(got[0].Text, "A test message: this receiver gets messages; root has tried it") {
		t.Errorf("messages: %+v", got)
	}
	for says, way := range map[string]trouble.Way{"EOF": trouble.Down, "not in JSON": trouble.Page} {
		room.Trouble.Next(1, way)
		result := decode[wire.ReceiverTest](t, s.Request("POST", "/api/v1/receivers/ops-chat/test", root, nil, nil), 200)
		if result.Taken || !strings.Contains(result.Said, says) || strings.Contains(result.Said, slack.Token) {
			t.Errorf("%+v", result)
		}
	}
	var taken, refused int
	for _, r := range recorded(t, s, store.AuditFilter{Action: audit.MessageTested}) {
		switch {
		case r.Outcome != "":
			refused++
		case strings.HasSuffix(r.Detail, "ops-chat, slack ops: taken"):
			taken++
		}
	}
	if taken != 2 || refused != 2 {
		t.Errorf("records: %d taken, %d refused", taken, refused)
	}
}

// TestEventsAreDescribed: what receivers get has the schema of the event.
func TestEventsAreDescribed(t *testing.T) {
	s := apitest.Start(t, nil)
	doc := decode[struct {
		Webhooks   map[string]map[string]json.RawMessage `json:"webhooks"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}](t, s.Request("GET", "/api/openapi.json", s.Token("anna", developer), nil, nil), 200)
	if hook := string(doc.Webhooks["event"]["post"]); !strings.Contains(hook, "#/components/schemas/Notification") || !strings.Contains(hook, wire.HeaderSignature) {
		t.Errorf("the webhook is %s", hook)
	}
	full, err := json.Marshal(wire.Notification{Week: &wire.Week{}, Note: "x", Rule: "x", Trouble: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(full, &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if _, ok := doc.Components.Schemas["Notification"].Properties[name]; !ok {
			t.Errorf("the schema has no %s", name)
		}
	}
}
