package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	// messagesPage is who is told of what, and what they have not taken.
	messagesPage struct {
		adminPage
		Receivers []receiverLine
		Left      int // messages to receivers that the settings do not name
	}
	receiverLine struct {
		ID, Name, Kind, Address               string
		State, Failure                        string
		Tone                                  tone
		Waiting                               int
		Since                                 *moment // when the oldest of them was left
		Events                                []eventWord
		Services, Environments, Owners, Kinds string // that it is told of; owners and kinds "" = all
		Test                                  *receiverTest
	}
	// eventWord says what an event is, and its name in the settings.
	eventWord struct{ Name, Text string }
	// receiverTest is what a receiver has just said to a test message.
	receiverTest struct {
		Taken bool
		Took  time.Duration
		Said  string // why not
	}
)

func (s *site) adminMessages(w http.ResponseWriter, v *visit) error {
	page, err := s.messagesPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminMessages, page)
}

func (s *site) messagesPage(v *visit) (messagesPage, error) {
	list, left, err := s.cfg.Control.Receivers(v.Context(), v.actor)
	if err != nil {
		return messagesPage{}, err
	}
	page := messagesPage{adminPage: s.adminLayout(v, say(v.lang, "adminmessages.title")), Left: int(left)}
	for _, r := range list {
		page.Receivers = append(page.Receivers, receiverLineOf(v.lang, r, s.cfg.Now()))
	}
	return page, nil
}

func receiverLineOf(l language, r wire.Receiver, now time.Time) receiverLine {
	line := receiverLine{
		ID: r.ID, Name: restart.Escape(r.Name), Kind: restart.Escape(r.Kind), Address: said.In(l, r.Address), Failure: said.In(l, r.Failure), Waiting: int(r.Waiting), Since: maybeMoment(r.Since, now),
		Services: listed(r.Services), Environments: listed(r.Environments), Owners: listed(r.Teams),
	}
	if strings.HasPrefix(r.Address, r.Kind+" ") { // which says it
		line.Kind = ""
	}
	for _, e := range r.Events {
		line.Events = append(line.Events, eventWord{Name: restart.Escape(e), Text: known(l, "event."+e, e)})
	}
	var kinds []string
	for _, k := range r.Kinds {
		kinds = append(kinds, known(l, "kind."+string(k), string(k)))
	}
	line.Kinds = listed(kinds)
	state := "good"
	switch line.Tone = toneDone; {
	case r.Failure != "":
		state, line.Tone = "stuck", toneFail
	case r.Waiting > 0:
		state, line.Tone = "underway", toneWait
	}
	line.State = say(l, "adminmessages."+state)
	return line
}

// listed writes names side by side, escaped.
func listed(names []string) string { return restart.Escape(strings.Join(names, ", ")) }

// testReceiver shows the page with what the receiver has said beside it.
func (s *site) testReceiver(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	result, err := s.cfg.Control.TestReceiver(v.Context(), v.actor, v.PostForm.Get("receiver"))
	if err != nil {
		return err
	}
	took, err := time.ParseDuration(result.Took)
	if err != nil {
		return fmt.Errorf("read how long a test took: %w", err)
	}
	page, err := s.messagesPage(v)
	if err != nil {
		return err
	}
	for i := range page.Receivers {
		if page.Receivers[i].Name == restart.Escape(result.Receiver) {
			page.Receivers[i].Test = &receiverTest{Taken: result.Taken, Took: took, Said: said.In(v.lang, result.Said)}
		}
	}
	return s.show(w, v, http.StatusOK, pageAdminMessages, page)
}
