package web

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/restartilka/restartilka/internal/intake"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// dumpsPerPage is how many dumps one page of the list has.
const dumpsPerPage = 50

// dumpsPage is the list of thread dumps, and the way to look at a file.
type dumpsPage struct {
	layout
	Service, Host, Run string
	Sent               filled // of the filter, what is wrong
	File               filled // what is wrong with a file that was put in
	Any                bool
	Done               string
	Dumps              []dumpLine
	Uploads            []dumpLine // the reader's own files
	Newer, Older       string
	MaxUpload          string
}

// dumpLine is one dump of a list.
type dumpLine struct {
	URL, Host, Service, Environment string
	Run, Name, When, Runtime        string
	At                              moment
	Verdict                         findingView
	Threads                         int
	Size                            string
	Error                           string
	Series                          int // further dumps of its series
}

func (s *site) dumpLineOf(l language, d wire.Dump) dumpLine {
	line := dumpLine{
		URL: "/dumps/" + d.ID, Host: restart.Escape(d.Host), Service: d.Service, Environment: d.Environment, Run: d.Run, Name: restart.Escape(shorten(d.Name, 100)), Size: size(d.Size),
		When: say(l, "dumporigin."+d.Origin), Runtime: runtimeWord(l, d.Runtime), At: momentOf(d.TakenAt, s.cfg.Now()), Error: said.In(l, shorten(d.Error, maxFrameRow)),
	}
	if d.Summary != nil {
		line.Threads = d.Summary.Threads
	}
	switch {
	case d.Stored == 0:
		line.Verdict = findingView{Tone: toneFail, Word: say(l, "dumps.failed"), Text: []saidPart{{Text: line.Error}}}
	case d.Verdict != nil:
		line.Verdict = findingOf(l, *d.Verdict)
	default:
		line.Verdict = findingView{Tone: toneSkip, Word: say(l, "dumps.unjudged")}
		if line.Error != "" {
			line.Verdict.Text = []saidPart{{Text: line.Error}}
		}
	}
	return line
}

// dumpLines gives the lines of a list, the newest first. The dumps of a series
// are one line, that of the last of them that was taken.
func (s *site) dumpLines(l language, list []wire.Dump) (out []dumpLine) {
	var shown []wire.Dump
	for _, d := range list {
		n := len(shown)
		if n > 0 && d.Task != "" && d.Task == shown[n-1].Task && d.Origin == shown[n-1].Origin {
			if out[n-1].Series++; shown[n-1].Stored == 0 && d.Stored > 0 {
				line := s.dumpLineOf(l, d)
				line.Series, out[n-1], shown[n-1] = out[n-1].Series, line, d
			}
			continue
		}
		shown, out = append(shown, d), append(out, s.dumpLineOf(l, d))
	}
	return out
}

// dumpFilterOf reads the filter of an address. Of what is wrong each field says it.
func dumpFilterOf(l language, q url.Values) (wire.DumpQuery, filled) {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	query := wire.DumpQuery{Service: get("service"), Host: strings.ToLower(get("host")), Run: get("run"), Cursor: get("before"), Limit: dumpsPerPage}
	sent := filled{Name: "filter"}
	for _, c := range []struct {
		field, text string
		err         error
	}{
		{"service", say(l, "stats.wrong.service"), unless(query.Service == "", restart.CheckServiceName, query.Service)},
		{"host", say(l, "dumps.wrong.host"), unless(query.Host == "", restart.CheckHost, query.Host)},
		{"run", say(l, "dumps.wrong.run"), unless(query.Run == "", restart.CheckID, query.Run)},
	} {
		if c.err != nil {
			sent.Wrongs = append(sent.Wrongs, wrong{Field: c.field, Message: c.text})
		}
	}
	return query, sent
}

func unless(empty bool, check func(string) error, value string) error {
	if empty {
		return nil
	}
	return check(value)
}

// dumpsOnHost asks for the newest dumps of one service on one host.
func dumpsOnHost(service, host string) wire.DumpQuery {
	return wire.DumpQuery{Service: service, Host: host, Limit: 2 * shownOthers}
}

func (s *site) listDumps(w http.ResponseWriter, v *visit) error {
	page, status, err := s.dumpsPage(v)
	if err != nil {
		return err
	}
	if v.URL.Query().Get("done") == "deleted" {
		page.Done = say(v.lang, "dump.deleted")
	}
	return s.show(w, v, status, pageDumps, page)
}

func (s *site) dumpsPage(v *visit) (dumpsPage, int, error) {
	q := v.URL.Query()
	query, sent := dumpFilterOf(v.lang, q)
	page := dumpsPage{
		layout: s.layout(v, say(v.lang, "dumps.title")), Service: restart.Escape(query.Service), Host: restart.Escape(strings.TrimSpace(q.Get("host"))), Run: restart.Escape(query.Run), Sent: sent,
		Any: query.Service+q.Get("host")+query.Run != "", MaxUpload: size(s.cfg.Control.MaxUpload()),
	}
	page.Files = []string{"dumps.js"}
	if len(sent.Wrongs) > 0 {
		return page, http.StatusUnprocessableEntity, nil
	}
	list, next, err := s.cfg.Control.Dumps(v.Context(), v.actor, query)
	if err != nil {
		return page, 0, err
	}
	page.Dumps = s.dumpLines(v.lang, list)
	address := url.Values{}
	for name, value := range map[string]string{"service": query.Service, "host": query.Host, "run": query.Run} {
		if value != "" {
			address.Set(name, value)
		}
	}
	if query.Cursor != "" {
		page.Newer = withQuery("/dumps", address)
	}
	if next != "" {
		address.Set("before", next)
		page.Older = withQuery("/dumps", address)
	}
	if !page.Any && query.Cursor == "" {
		own, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, wire.DumpQuery{Mine: true, Limit: dumpsPerPage})
		if err != nil {
			return page, 0, err
		}
		page.Uploads = s.dumpLines(v.lang, own)
	}
	return page, http.StatusOK, nil
}

// uploadDump takes a file in as it comes, without holding it, and goes to what
// it says. What is wrong with it stands beside the field.
func (s *site) uploadDump(w http.ResponseWriter, v *visit) error {
	most := s.cfg.Control.MaxUpload()
	ctx, cancel := context.WithTimeout(v.Context(), intake.Time)
	defer cancel()
	v.Body = intake.Body(ctx, w, v.Request, most+maxForm)
	file, err := filePart(v.Request)
	if err == nil && file == nil {
		return s.uploadRefused(w, v, wrong{Message: say(v.lang, "upload.missing")})
	}
	var taken wire.Dump
	if err == nil {
		taken, err = s.cfg.Control.UploadDump(ctx, v.actor, file.FileName(), file)
	}
	if restart.CodeOf(err) == restart.CodeTooLarge {
		return s.uploadRefused(w, v, wrong{Message: say(v.lang, "upload.large", size(most))})
	}
	if e, ok := errors.AsType[*restart.Error](err); ok && e.Code == restart.CodeInvalid {
		return s.uploadRefused(w, v, wrongOf(v.lang, e))
	}
	if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/dumps/"+taken.ID, http.StatusSeeOther)
	return nil
}

// filePart gives the file of a form; nil = none was chosen.
func filePart(r *http.Request) (*multipart.Part, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the form can't be read").Because(err)
	}
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil //nolint:nilnil // no file is no error
		case restart.CodeOf(err) == restart.CodeTooLarge:
			return nil, err
		case err != nil:
			return nil, restart.Errorf(restart.CodeInvalid, "the form can't be read").Because(err)
		case part.FormName() == "file" && part.FileName() != "":
			return part, nil
		}
	}
}

func (s *site) uploadRefused(w http.ResponseWriter, v *visit, what wrong) error {
	page, _, err := s.dumpsPage(v)
	if err != nil {
		return err
	}
	what.Field = "file"
	page.File = filled{Name: "upload", Wrongs: []wrong{what}}
	return s.show(w, v, http.StatusUnprocessableEntity, pageDumps, page)
}

// dumpsOf gives the newest dumps that a page of something else shows; none to
// those who may not look at them.
func (s *site) dumpsOf(v *visit, q wire.DumpQuery) ([]dumpLine, error) {
	q.Limit = recentDumps
	list, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, q)
	if restart.CodeOf(err) == restart.CodeForbidden {
		return nil, nil
	}
	return s.dumpLines(v.lang, list), err
}

// recentDumps is how many dumps a page shows that is of something else.
const recentDumps = 5
