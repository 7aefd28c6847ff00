package server

import (
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/restart"
)

// newChats makes the bot of the chats that the configuration names; nil where it
// names none.
func (s *Server) newChats() (*chat.Bot, error) {
	chats, err := s.cfg.openChats(s)
	if err != nil || len(chats.Names()) == 0 {
		return nil, err
	}
	return chat.New(chat.Config{
		Chats: chats, Control: s.control, Desk: s.store, Owner: s.cfg.Name + "/" + restart.NewID(time.Now()), URL: strings.TrimRight(s.cfg.URL, "/"), Logger: s.log,
		Observe: s.meters.commanded,
	}), nil
}

// openChats reads what the configuration says of chats.
func (c *Config) openChats(s *Server) (chat.Chats, error) {
	o := chat.Options{URL: strings.TrimRight(c.URL, "/")}
	if s != nil {
		o.Logger = s.log
	}
	return c.Chat.Open(o)
}

// chatNames are the kinds of chats in which the bot works.
func (s *Server) chatNames() []string {
	if s.chats == nil {
		return nil
	}
	return s.chats.Names()
}
