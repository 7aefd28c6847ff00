package web

import (
	"cmp"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/wire"
)

// chatNames are the kinds of chats as people call them, and how a command is
// given there.
var chatNames = map[string]chatLine{
	"telegram": {"Telegram", "/link"}, "slack": {"Slack", "/restartilka link"}, "mattermost": {"Mattermost", "/restartilka link"},
}

type (
	// chatLine is a chat in which the bot works.
	chatLine struct{ Name, Command string }
	// chatLinkLine is one linked account.
	chatLinkLine struct {
		ID, Chat, Name, Person string
		Since                  moment
	}
	// chatView is what a page says of accounts of chats.
	chatView struct {
		Chats    []chatLine // that can be linked
		Links    []chatLinkLine
		Action   string // where a link is removed
		Code     string // made just now, and shown this once
		Ends     moment // of the code
		Unlinked bool
	}
)

func (s *site) chatLine(name string) chatLine {
	return cmp.Or(chatNames[name], chatLine{name, "/link"})
}

// chatsOf lists somebody's linked accounts; "" = one's own.
func (s *site) chatsOf(v *visit, of string) (chatView, error) {
	view := chatView{Action: "/profile/unlink-chat", Unlinked: of == "" && v.URL.Query().Get("done") == "unlinked"}
	for _, name := range s.cfg.Chats {
		view.Chats = append(view.Chats, s.chatLine(name))
	}
	links, err := s.cfg.Control.ChatLinks(v.Context(), v.actor, of)
	if err != nil {
		return view, err
	}
	view.Links = s.chatLinkLines(links, s.cfg.Now())
	return view, nil
}

func (s *site) chatLinkLines(links []wire.ChatLink, now time.Time) (out []chatLinkLine) {
	for _, l := range links {
		out = append(out, chatLinkLine{ID: l.ID, Chat: s.chatLine(l.Chat).Name, Name: l.Name, Person: l.Person, Since: momentOf(l.CreatedAt, now)})
	}
	return out
}

// createChatCode shows the profile with a code, this once.
func (s *site) createChatCode(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	code, err := s.cfg.Control.ChatCode(v.Context(), v.actor)
	if err != nil {
		return err
	}
	page, err := s.profilePage(v)
	if err != nil {
		return err
	}
	page.Chat.Code, page.Chat.Ends = code.Code, momentOf(code.ExpiresAt, s.cfg.Now())
	return s.show(w, v, http.StatusOK, pageProfile, page)
}

func (s *site) unlinkChat(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.UnlinkChat(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	return done(w, v, "/profile", "unlinked")
}

// unlinkChatOf removes an account of somebody else, for an admin.
func (s *site) unlinkChatOf(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.MustAdministerTo(v.Context(), v.actor, audit.ChatUnlinked); err != nil {
		return err
	}
	name := v.PathValue("name")
	if err := s.cfg.Control.UnlinkChat(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	return done(w, v, addressOfUser(name), "unlinked")
}
