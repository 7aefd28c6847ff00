package tracker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/github"
	"github.com/restartilka/restartilka/test/foreign/gitlab"
	"github.com/restartilka/restartilka/test/foreign/jira"
	"github.com/restartilka/restartilka/test/foreign/startrek"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

func TestStartrek(t *testing.T) {
	t.Parallel()
	Exercise(t, func(t *testing.T) foreign { t.Helper(); return startrekServer{startrek.Start(t)} })
}

func TestJira(t *testing.T) {
	t.Parallel()
	Exercise(t, func(t *testing.T) foreign { t.Helper(); return jiraServer{jira.Start(t)} })
}

func TestJiraInTheCloud(t *testing.T) {
	t.Parallel()
	Exercise(t, func(t *testing.T) foreign {
		t.Helper()
		s := jira.Start(t)
		s.Cloud = true
		return jiraServer{s}
	})
}

// A ticket with very many comments gets no second one of ours, also where Jira
// does not know how to order them.
func TestJiraWithManyComments(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		s := jira.Start(t)
		s.Old = old
		b := newBench(t, jiraServer{s})
		b.said(17, 1200)
		n := b.ended(17)
		for range 2 {
			b.must(b.tell(n))
			if got := len(b.comments(17)); got != 1201 {
				t.Fatalf("old %t: %d comments", old, got)
			}
		}
		s.SayAt(b.key(17), 600, time.Now().Add(time.Minute)) // more than are looked at, all younger than the run
		if err := b.tell(n); err == nil || len(b.comments(17)) != 1801 {
			t.Errorf("old %t: %d comments, %v", old, len(b.comments(17)), err)
		}
	}
}

// A ticket whose opening had no answer is not opened anew before Jira's search
// would have it, also by another server.
func TestJiraFindsANewTicketLate(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} { // over by another server
		s := jira.Start(t)
		s.Lags = true
		rule := func(c *tracker.Config) {
			c.Recurrence = []tracker.Recurrence{{Restarts: 3, Days: 7, Project: c.Projects[0]}}
		}
		b := newBench(t, jiraServer{s}, rule)
		n := b.ended(17)
		n.Event, n.Ticket, n.Restarts, n.Days = wire.EventRecurrence, "", 3, 7
		var noted []string
		note := func(_ context.Context, _, key, _ string) error {
			noted = append(noted, key)
			return nil
		}
		tell := func(attempt int) error { return b.all.Each()[0].Tell(t.Context(), n.ID, attempt, n, note) }
		s.Trouble.Next(2, onCreate(trouble.Lost))
		if err := tell(1); err == nil || len(b.opened()) != 1 {
			t.Fatalf("%v, %+v", err, b.opened())
		}
		s.Trouble.Next(0, nil)
		if taken {
			b = newBench(t, jiraServer{s}, rule)
		}
		for attempt := 2; attempt < 6; attempt++ {
			if err := tell(attempt); err == nil || len(b.opened()) != 1 {
				t.Fatalf("%v, %+v", err, b.opened())
			}
			b.now = b.now.Add(20 * time.Second)
		}
		s.Index()
		if err := tell(6); err != nil || len(b.opened()) != 1 || len(noted) != 1 || noted[0] != b.opened()[0].key {
			t.Errorf("%v, %+v, noted %v", err, b.opened(), noted)
		}

		// One that was never opened is, after that time.
		n.ID = restart.NewID(b.now)
		s.Trouble.Next(2, onCreate(trouble.Down))
		if err := tell(1); err == nil {
			t.Error("no answer is taken for one")
		}
		s.Trouble.Next(0, nil)
		b.now = b.now.Add(2 * time.Minute)
		if err := tell(2); err != nil || len(b.opened()) != 2 {
			t.Errorf("%v, %+v", err, b.opened())
		}
	}
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	Exercise(t, func(t *testing.T) foreign { t.Helper(); return githubServer{github.Start(t)} })
}

func TestGitLab(t *testing.T) {
	t.Parallel()
	Exercise(t, func(t *testing.T) foreign { t.Helper(); return gitlabServer{gitlab.Start(t)} })
}

type startrekServer struct{ *startrek.Server }

func (s startrekServer) config(file string) tracker.Config {
	return tracker.Config{Kind: "startrek", URL: s.URL, Web: "https://tracker.example.com", TokenFile: file, Org: startrek.Org, Projects: []string{startrek.Queue}}
}
func (startrekServer) token() string         { return startrek.Token }
func (s startrekServer) gate() *trouble.Gate { return &s.Trouble }
func (startrekServer) key(number int) string { return fmt.Sprintf("%s-%d", startrek.Queue, number) }
func (startrekServer) status(closed bool) string {
	return map[bool]string{false: "In progress", true: "Closed"}[closed]
}

func (s startrekServer) add(number int, title string, closed bool) {
	s.Add(startrek.Issue{Key: s.key(number), Summary: title, Status: s.status(closed), Resolved: closed})
}

func (s startrekServer) said(number, times int) { s.Say(s.key(number), times) }

func (s startrekServer) comments(number int) []string {
	for _, i := range s.Issues() {
		if i.Key == s.key(number) {
			return i.Comments
		}
	}
	return nil
}

func (s startrekServer) opened() (out []ticket) {
	for _, i := range s.Issues() {
		if slices.Contains(i.Tags, "restartilka") {
			out = append(out, ticket{i.Key, i.Summary, i.Text})
		}
	}
	return out
}

type jiraServer struct{ *jira.Server }

func (s jiraServer) config(file string) tracker.Config {
	c := tracker.Config{Kind: "jira", URL: s.URL, Web: s.URL, TokenFile: file, Projects: []string{jira.Project}}
	if s.Cloud {
		c.User = jira.User
	}
	return c
}
func (jiraServer) token() string         { return jira.Token }
func (s jiraServer) gate() *trouble.Gate { return &s.Trouble }
func (jiraServer) key(number int) string { return fmt.Sprintf("%s-%d", jira.Project, number) }
func (jiraServer) status(closed bool) string {
	return map[bool]string{false: "In Progress", true: "Resolved"}[closed]
}

func (s jiraServer) add(number int, title string, closed bool) {
	s.Add(jira.Issue{Key: s.key(number), Summary: title, Status: s.status(closed), Category: map[bool]string{false: "indeterminate", true: "done"}[closed]})
}

func (s jiraServer) said(number, times int) { s.Say(s.key(number), times) }

func (s jiraServer) comments(number int) []string {
	for _, i := range s.Issues() {
		if i.Key == s.key(number) {
			return i.Comments
		}
	}
	return nil
}

func (s jiraServer) opened() (out []ticket) {
	for _, i := range s.Issues() {
		if slices.Contains(i.Labels, "restartilka") {
			out = append(out, ticket{i.Key, i.Summary, i.Text})
		}
	}
	return out
}

type githubServer struct{ *github.Server }

func (s githubServer) config(file string) tracker.Config {
	return tracker.Config{Kind: "github", URL: s.URL, Web: s.URL, TokenFile: file, Projects: []string{github.Repository}}
}
func (githubServer) token() string         { return github.Token }
func (s githubServer) gate() *trouble.Gate { return &s.Trouble }
func (githubServer) key(number int) string { return fmt.Sprintf("%s#%d", github.Repository, number) }
func (githubServer) status(closed bool) string {
	return map[bool]string{false: "open", true: "closed"}[closed]
}

func (s githubServer) add(number int, title string, closed bool) {
	s.Add(github.Issue{Number: number, Title: title, Closed: closed, At: time.Now().Add(-time.Hour)})
}

func (s githubServer) said(number, times int) { s.Say(number, times) }

func (s githubServer) comments(number int) (out []string) {
	for _, i := range s.Issues() {
		for _, c := range i.Comments {
			if i.Number == number {
				out = append(out, c.Body)
			}
		}
	}
	return out
}

func (s githubServer) opened() (out []ticket) {
	for _, i := range s.Issues() {
		if strings.Contains(i.Text, "[restartilka ") {
			out = append(out, ticket{s.key(i.Number), i.Title, i.Text})
		}
	}
	return out
}

type gitlabServer struct{ *gitlab.Server }

func (s gitlabServer) config(file string) tracker.Config {
	return tracker.Config{Kind: "gitlab", URL: s.URL, Web: s.URL, TokenFile: file, Projects: []string{gitlab.Project}}
}
func (gitlabServer) token() string         { return gitlab.Token }
func (s gitlabServer) gate() *trouble.Gate { return &s.Trouble }
func (gitlabServer) key(number int) string { return fmt.Sprintf("%s#%d", gitlab.Project, number) }
func (gitlabServer) status(closed bool) string {
	return map[bool]string{false: "opened", true: "closed"}[closed]
}

func (s gitlabServer) add(number int, title string, closed bool) {
	s.Add(gitlab.Issue{Number: number, Title: title, Closed: closed, At: time.Now().Add(-time.Hour)})
}

func (s gitlabServer) said(number, times int) { s.Say(number, times) }

func (s gitlabServer) comments(number int) (out []string) {
	for _, i := range s.Issues() {
		for _, n := range i.Notes {
			if i.Number == number {
				out = append(out, n.Body)
			}
		}
	}
	return out
}

func (s gitlabServer) opened() (out []ticket) {
	for _, i := range s.Issues() {
		if strings.Contains(i.Text, "[restartilka ") {
			out = append(out, ticket{s.key(i.Number), i.Title, i.Text})
		}
	}
	return out
}
