package server

import (
	"context"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// openReceivers opens those outside who are told, and what tells them.
func (s *Server) openReceivers(inv *inventory.Inventory) (notify.Receivers, error) {
	settings := s.cfg.Notify
	settings.People = owners{store: s.store, known: settings.Addresses}
	receivers, err := settings.Open()
	if err != nil {
		return notify.Receivers{}, err
	}
	s.receivers = receivers
	s.notifier = notify.New(notify.Config{Outbox: s.store, Receivers: receivers, Server: s.cfg.Name, Logger: s.log})
	s.digester = notify.NewDigester(notify.DigestConfig{
		Weeks: s.store, Receivers: receivers, URL: strings.TrimRight(s.cfg.URL, "/"), Wake: s.notifier.Wake, Logger: s.log,
		Owners: func(ctx context.Context, name string) ([]string, error) {
			service, err := inv.Service(ctx, name)
			if restart.CodeOf(err) == restart.CodeNotFound {
				return nil, nil
			}
			return service.Owners, err
		},
	})
	return receivers, nil
}

// owners knows the addresses of owners of services: from the settings, else
// from what directories have told of people. A team that the settings do not
// name is all its members.
type owners struct {
	store *store.Store
	known map[string]string
}

func (o owners) Addresses(ctx context.Context, names []string) (out []string, err error) {
	var asked []string
	for _, name := range names {
		if address := o.known[name]; address != "" {
			out = append(out, address)
		} else {
			asked = append(asked, name)
		}
	}
	if len(asked) == 0 {
		return out, nil
	}
	mails, err := o.store.MailOf(ctx, asked)
	slices.Sort(mails)
	return append(out, mails...), err
}
