package web

import (
	"net/http"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

const pageProblem = "problem"

// problemPage says what went wrong, what to do about it, and where to go on.
type problemPage struct {
	layout
	Tone             tone
	Heading, Message string
	Hint, Shell      []string // sentences, one a line; commands
	Kept             string   // what was written for people, of a form that did not work
	Run              string   // whose page a form was sent from; "" = none
	Again            string   // address to ask once more; "" = it would not help
	Ours             bool     // the server's log has more, under the request's number
}

// problem shows what went wrong as a page like any other.
func (s *site) problem(w http.ResponseWriter, v *visit, e *restart.Error) {
	key := "problem." + string(e.Code)
	if _, ok := catalogue[key]; !ok || e.Code == restart.CodeInternal {
		key = "problem.other"
	}
	status := protocol.StatusOf(e.Code)
	page := problemPage{
		layout: s.layout(v, say(v.lang, key)), Tone: toneFail, Heading: say(v.lang, key), Message: said.In(v.lang, e.Message), Ours: e.Code == restart.CodeInternal,
	}
	page.Hint, page.Shell = hintOf(v.lang, e.Hint)
	if e.Code == restart.CodeNotFound {
		page.Tone = toneUnknown
	} else if status == http.StatusConflict || status == http.StatusServiceUnavailable {
		page.Tone = toneHold
	}
	passes := status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
	switch read := v.Method == http.MethodGet || v.Method == http.MethodHead; {
	case read && passes:
		page.Again = v.URL.RequestURI()
	case !read:
		page.Kept = kept(v.Request)
		if id := v.PathValue("id"); restart.CheckID(id) == nil {
			page.Run = id
		} else if status != http.StatusForbidden {
			page.Again = pressedOn(v.URL.Path)
		}
	}
	if err := s.show(w, v, status, pageProblem, page); err != nil {
		s.cfg.Logger.ErrorContext(v.Context(), "show a problem", "request_id", v.id, "error", err)
		http.Error(w, "internal error "+v.id, http.StatusInternalServerError)
	}
}

// kept gives back the sentences of a form: nobody is to think them out twice.
// Nothing else of a form is shown again, since it may be secret.
func kept(r *http.Request) string {
	for _, name := range []string{"reason", "note"} {
		if text := strings.TrimSpace(r.PostForm.Get(name)); text != "" {
			runes := []rune(text)
			return restart.Escape(string(runes[:min(len(runes), 500)]))
		}
	}
	return ""
}
