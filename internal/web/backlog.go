package web

import (
	"github.com/restartilka/restartilka/internal/audit"
)

// logNotice says on every page that the remote log holds runs up, or soon will;
// "" = it does not.
func logNotice(l language, now audit.Standing) string {
	switch {
	case !now.Late.IsZero():
		return say(l, "notice.late", exact(now.Late), string(now.Level))
	case now.Fill == audit.FillFull:
		return say(l, "notice.full", now.Percent())
	case now.Fill == audit.FillWarn:
		return say(l, "notice.filling", now.Percent())
	}
	return ""
}

// logHolds tells whether the remote log keeps every run from starting just now.
func (s *site) logHolds() bool {
	now := s.cfg.Control.Log()
	return !now.Late.IsZero() || now.Fill == audit.FillFull
}
