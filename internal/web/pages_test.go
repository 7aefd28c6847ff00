package web

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/said"
)

// hostile is text as an attacker would like to see it in a page. What comes
// from hosts and people is checked and escaped before; here it is not.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>' style='x' {{.}} javascript:alert(3)`

// fill sets every field of a page: texts to the hostile one, slices to one element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(hostile)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(2 * time.Second))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "Files" { // of ours, as the templates are
				continue
			} else if f.CanSet() {
				fill(f)
			} else if v.Type().Field(i).Anonymous {
				fill(reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem())
			}
		}
	}
}

// inline is whatever the content security policy would refuse, or what the
// templates should never give.
var inline = regexp.MustCompile(`(?i)<script>|<script[^>]*>[^<]|<style|<[a-z][^<>]*\s(style|on[a-z]+)=|<img|ZgotmplZ|javascript:alert\(3\)"?>|\{[a-z]+\.[a-z.]*\}`)

func TestPagesWithHostileValues(t *testing.T) {
	p := parsePages(embeddedAssets())
	frames, replays := frame{}, replay{}
	for name, page := range map[string]any{
		pageHome: &homePage{}, pageStart: &startPage{}, pagePlan: &planPage{}, pageConfirm: &confirmPage{}, pageAdmin: &overviewPage{}, pageAdminUsers: &usersPage{}, pageAdminUser: &userPage{}, pageAdminTokens: &tokensPage{},
		pageAdminSessions: &sessionsPage{}, pageAdminRules: &rulesPage{}, pageAdminHosts: &agentsPage{}, pageAdminLocks: &locksPage{}, pageAdminDelivery: &deliveryPage{}, pageAdminMessages: &messagesPage{}, pageAdminConfig: &configurationPage{}, pageSignIn: &signInPage{}, pageRuns: &runsPage{},
		pageServices: &servicesPage{}, pageService: &servicePage{}, pageHosts: &hostsPage{}, pageMachine: &machinePage{}, pagePerson: &personPage{}, pageStatistics: &statisticsPage{}, pageSlowest: &slowestPage{}, pageReasons: &reasonsPage{}, pageReason: &reasonPage{Chart: &barChart{}}, pageRun: &runPage{}, pageHost: &hostPage{},
		pagePlanned: &plannedPage{}, pagePlannedOne: &plannedOnePage{}, pageLater: &laterPage{}, pageHeldLocks: &heldPage{}, pageFreezes: &freezesPage{}, pageGlass: &glassPage{}, pageBreak: &breakPage{}, pageApprovals: &approvalsPage{}, pageProfile: &profilePage{}, pageLogin: &loginPage{}, pageScenarios: &scenariosPage{}, pageVersions: &versionsPage{},
		pageQueue: &queuePage{}, pageReview: &reviewPage{}, pageProblem: &problemPage{}, "frame": &frames, "offers": &offersView{}, "checks": &checksPage{}, pageChart: &chartPage{},
		pageDumps: &dumpsPage{}, pageDump: &dumpPage{}, pageThreads: &threadsPage{}, pageThread: &threadPage{}, pageDumpLocks: &dumpLocksPage{}, pageDumpFlame: &dumpFlamePage{}, pageDumpText: &dumpTextPage{},
		pageDumpCompare: &dumpComparePage{}, pageRunDumps: &runDumpsPage{}, pageAudit: &auditPage{}, pageAuditRecord: &recordPage{}, pageAuditStory: &storyPage{}, "replay": &replays,
	} {
		for _, full := range []bool{false, true} {
			v := reflect.ValueOf(page).Elem()
			v.SetZero()
			if full {
				fill(v)
			}
			for _, l := range said.Languages() {
				file, root := name, "layout.html"
				if in, ok := map[string]string{"frame": pageRun, "replay": pageRun, "offers": pageStart, "checks": pagePlan}[name]; ok { // a part of a page
					file, root = in, name
				}
				var b bytes.Buffer
				if err := p[l][file]().ExecuteTemplate(&b, root, v.Interface()); err != nil {
					t.Fatalf("%s in %s, full %t: %v", name, l, full, err)
				}
				html := unquoted(b.String())
				if name == "replay" { // its own style and script are there, by their hashes
					html = strings.Replace(strings.Replace(html, "<style>", "", 1), "<script>", "", 1)
				}
				if bad := inline.FindString(html); bad != "" {
					t.Errorf("%s in %s, full %t, has %q:\n%s", name, l, full, bad, html)
				}
				if full && !strings.Contains(b.String(), "&lt;script&gt;alert(1)") {
					t.Errorf("%s in %s does not show its values", name, l)
				}
			}
		}
	}
}

// unquoted gives a page without the values of its attributes, between whose
// quotes anything may stand.
func unquoted(html string) string {
	return regexp.MustCompile(`"[^"<>]*"|'[^'<>]*'`).ReplaceAllString(html, `""`)
}

func TestLayoutSaysWhatThePageIs(t *testing.T) {
	p := parsePages(embeddedAssets())
	for _, l := range said.Languages() {
		var b bytes.Buffer
		if err := p[l][pageProblem]().ExecuteTemplate(&b, "layout.html", problemPage{layout: layout{Lang: l, Title: "Gone", Theme: themeDark}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "<title>Gone · restartilka</title>") || !strings.Contains(b.String(), `<html lang="`+string(l)+`" data-theme="dark">`) {
			t.Errorf("%s: %s", l, b.String())
		}
	}
}
