package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// theme is how pages look.
type theme string

const (
	themeSystem theme = "system" // as the browser's system does
	themeLight  theme = "light"
	themeDark   theme = "dark"
)

func themes() []theme { return []theme{themeSystem, themeLight, themeDark} }

// The cookies that keep what somebody has chosen, for a year. They are of the
// browser and not of the person, so that the page to sign in has them too.
const (
	cookieLanguage = "restartilka_language"
	cookieTheme    = "restartilka_theme"
	displayAge     = 365 * 24 * 60 * 60 // seconds
)

// languageOf gives the language that was chosen, or the one that the browser asks for.
func languageOf(r *http.Request) language {
	if c, err := r.Cookie(cookieLanguage); err == nil && slices.Contains(said.Languages(), language(c.Value)) {
		return language(c.Value)
	}
	return preferred(r.Header.Get("Accept-Language"))
}

func themeOf(r *http.Request) theme {
	if c, err := r.Cookie(cookieTheme); err == nil && slices.Contains(themes(), theme(c.Value)) {
		return theme(c.Value)
	}
	return themeSystem
}

// displayView is the form that chooses language and theme, on the pages that
// have it.
type displayView struct {
	Back      string // path to come back to
	Languages []displayChoice
	Themes    []displayChoice
}

// displayChoice is one button of it.
type displayChoice struct {
	Value, Text, Lang string
	Chosen            bool
}

func displayOf(v *visit, back string) displayView {
	d := displayView{Back: back}
	for _, l := range said.Languages() {
		d.Languages = append(d.Languages, displayChoice{Value: string(l), Text: say(l, "display.name"), Lang: string(l), Chosen: l == v.lang})
	}
	for _, t := range themes() {
		d.Themes = append(d.Themes, displayChoice{Value: string(t), Text: say(v.lang, "theme."+string(t)), Lang: string(v.lang), Chosen: t == v.theme})
	}
	return d
}

// setDisplay keeps what was chosen, each that is named, and goes back. Nobody
// needs to be signed in for it: it is about this browser alone.
func (s *site) setDisplay(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	for _, c := range []struct {
		cookie, value string
		known         bool
	}{
		{cookieLanguage, v.PostForm.Get("language"), slices.Contains(said.Languages(), language(v.PostForm.Get("language")))},
		{cookieTheme, v.PostForm.Get("theme"), slices.Contains(themes(), theme(v.PostForm.Get("theme")))},
	} {
		if c.value == "" {
			continue
		}
		if !c.known {
			return restart.Errorf(restart.CodeInvalid, "there is no language or theme %s", restart.Quote(c.value))
		}
		http.SetCookie(w, &http.Cookie{Name: c.cookie, Value: c.value, Path: "/", MaxAge: displayAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	back := v.PostForm.Get("back")
	if !ownPath(back) {
		back = "/"
	}
	http.Redirect(w, v.Request, back, http.StatusSeeOther)
	return nil
}

// navLine is one page of the navigation.
type navLine struct {
	URL, Text string
	Current   string // aria-current: page, true (a page below it is shown), or ""
	Count     int    // what waits there; only of approvals
}

// sections are what the navigation has, with the paths that belong to each.
var sections = []struct {
	url, word string
	below     []string
	admins    bool // only
	auditors  bool // and admins only
}{
	{url: "/", word: "start", below: []string{"/start"}},
	{url: "/runs", word: "runs", below: []string{"/runs", "/planned", "/freezes", "/locks", "/break-glass"}},
	{url: "/dumps", word: "dumps", below: []string{"/dumps"}},
	{url: "/services", word: "services", below: []string{"/services", "/hosts", "/people"}},
	{url: "/statistics", word: "statistics", below: []string{"/statistics"}},
	{url: "/scenarios", word: "scenarios", below: []string{"/scenarios", "/review"}},
	{url: "/approvals", word: "approvals", below: []string{"/approvals"}},
	{url: "/audit", word: "audit", below: []string{"/audit"}, auditors: true},
	{url: "/admin", word: "admin", below: []string{"/admin"}, admins: true},
}

// navigation gives the lines for a path.
func navigation(l language, path string, admin, auditor bool, toApprove int) []navLine {
	var out []navLine
	for _, s := range sections {
		if s.admins && !admin || s.auditors && !auditor {
			continue
		}
		line := navLine{URL: s.url, Text: say(l, "layout."+s.word)}
		switch {
		case path == s.url:
			line.Current = "page"
		case slices.ContainsFunc(s.below, func(b string) bool { return path == b || strings.HasPrefix(path, b+"/") }):
			line.Current = "true"
		}
		if s.url == "/approvals" {
			line.Count = toApprove
		}
		out = append(out, line)
	}
	return out
}
