package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// told is a scenario whose scripts write down, as the last thing they do, when
// that is. The next phase, or the end, is what the browser then sees. The first
// of them waits until everybody looks.
func told(c *company.Company) (name, content string) {
	script := func(step string) string {
		return fmt.Sprintf("while [ ! -e %s ]; do sleep 0.05; done; sleep 0.35; echo \"#host# %s $(date +%%s%%N)\" >> %s", allLook(c), step, filepath.Join(c.Dir, "told"))
	}
	return "told", `format: 1
name: told
serial: 1
author: bench@restartilka.invalid
kind: restart
services: [` + demo.ServiceName + `]
description: Tells when its steps end
strategy: {batches: [1], task_timeout: 3m}
steps:
  run: {script: '` + script("run") + `'}
  undrain: {script: '` + script("undrain") + `'}
`
}

// allLook is the file for which the scripts of told wait.
func allLook(c *company.Company) string { return filepath.Join(c.Dir, "all-look") }

// shown is what one event of the stream said of a host's row, and when it came.
type shown struct {
	host, look string
	at         time.Time
}

// viewer is a raw reader of the event stream of a run's page, on a connection
// of its own. What it reads it only keeps: looking at it comes afterwards, so
// that the readers do not take the machine from the server.
type viewer struct {
	open   chan struct{} // closed when the stream is there
	frames []frame
	err    error
}

type frame struct {
	at   time.Time
	data string
}

// events measures the way from a script on a host to the bytes at each of very
// many who watch the run's page; and to the screen of one real browser among
// them, where there is one.
func (s *session) events(b *bed) error {
	c := company.New(b, company.Options{Hosts: min(s.hosts, 10), Scenario: told, Agent: anyRate})
	ready(b, c)
	client := httpsClient(b, c)
	defer client.CloseIdleConnections()
	cookie := signIn(b, c, client)
	run, err := c.Dev.Draft(b.ctx, restart.Request{Service: demo.ServiceName, Reason: "measure it"}, "")
	b.must(err)
	_, err = c.Dev.Start(b.ctx, run.ID, wire.StartRequest{}) // before, the page is the plan's
	b.must(err)
	screen := s.screen(b, c, client, run.ID)

	var reading sync.WaitGroup
	viewers := make([]*viewer, s.viewers)
	for i := range viewers {
		v := &viewer{open: make(chan struct{})}
		viewers[i] = v
		own := httpsClient(b, c)
		defer own.CloseIdleConnections()
		reading.Go(func() { v.err = v.watch(b.ctx, own, c.URL+"/runs/"+run.ID+"/events", cookie) })
	}
	ended := make(chan struct{})
	go func() { reading.Wait(); close(ended) }()
	for _, v := range viewers {
		select {
		case <-v.open:
		case <-ended:
		}
		b.must(v.err)
	}
	b.must(os.WriteFile(allLook(c), nil, 0o600))
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		b.Fatal("the event streams do not end")
	}
	events, err := toldBy(c)
	b.must(err)
	var all []time.Duration
	byStep := map[string][]time.Duration{}
	for _, v := range viewers {
		b.must(v.err)
		b.must(lags(events, v.shown(), func(step string, lag time.Duration) {
			all, byStep[step] = append(all, lag), append(byStep[step], lag)
		}))
	}
	p := percentiles(all)
	s.results.Event = new(p.P99)
	s.detail("event_viewers", len(viewers))
	s.detail("event_to_browser_p50_ms", p.P50)
	s.detail("event_to_browser_phase_ms", percentiles(byStep["run"]))
	s.detail("event_to_browser_outcome_ms", percentiles(byStep["undrain"]))
	if screen != nil {
		var painted []time.Duration
		b.must(lags(events, screen(), func(_ string, lag time.Duration) { painted = append(painted, lag) }))
		s.detail("event_to_screen_ms", percentiles(painted))
	}
	return nil
}

// happened is an event on a host: which step of the script has told it.
type happened struct {
	host, step string
	at         time.Time
}

// toldBy reads what the scripts have told.
func toldBy(c *company.Company) (out []happened, err error) {
	told, err := os.ReadFile(filepath.Join(c.Dir, "told"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(told)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("a script told %q", line)
		}
		ns, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, happened{fields[0], fields[1], time.Unix(0, ns)})
	}
	if len(out) == 0 {
		return nil, errors.New("no script has told anything")
	}
	return out, nil
}

// lags compares what has happened with what was shown first of it.
func lags(events []happened, seen []shown, each func(step string, lag time.Duration)) error {
	look := map[string]string{"run": "undraining", "undrain": "Done"}
	first := map[string]time.Time{}
	for _, x := range seen {
		keys := []string{x.host + " " + x.look}
		if x.look == "Done" { // who comes late sees both at once
			keys = append(keys, x.host+" undraining")
		}
		for _, key := range keys {
			if at := first[key]; at.IsZero() || x.at.Before(at) {
				first[key] = x.at
			}
		}
	}
	for _, e := range events {
		at, ok := first[e.host+" "+look[e.step]]
		if !ok {
			return fmt.Errorf("the page never showed %s of %s", look[e.step], e.host)
		}
		each(e.step, at.Sub(e.at))
	}
	return nil
}

// row finds the parts of a row in a frame: its name and what it says.
var (
	row = regexp.MustCompile(`(?s)<li id="host-\d+".*?</li>`)
	tag = regexp.MustCompile(`<[^>]*>`)
)

// watch reads the event stream of a run's page until it ends.
func (v *viewer) watch(ctx context.Context, client *http.Client, address string, cookie *http.Cookie) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.AddCookie(cookie)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the event stream answers %s", resp.Status)
	}
	close(v.open)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	var data strings.Builder
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "data: "):
			data.WriteString(strings.TrimPrefix(line, "data: ") + "\n")
		case line == "event: end":
			return nil
		case line == "" && data.Len() > 0:
			v.frames = append(v.frames, frame{time.Now(), data.String()})
			data.Reset()
		}
	}
	return lines.Err()
}

// shown looks at what a viewer has kept.
func (v *viewer) shown() (out []shown) {
	for _, f := range v.frames {
		for _, r := range row.FindAllString(f.data, -1) {
			text := strings.Join(strings.Fields(tag.ReplaceAllString(r, " ")), " ")
			for _, look := range []string{"undraining", "Done"} {
				if strings.Contains(text, look) {
					out = append(out, shown{hostName(text), look, f.at})
				}
			}
		}
	}
	return out
}

var named = regexp.MustCompile(`(host\d+) ?(\.[a-z.]+)`)

// hostName finds the host's full name in the text of its row.
func hostName(text string) string {
	m := named.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// signIn gives the cookie of the developer's session.
func signIn(b *bed, c *company.Company, client *http.Client) *http.Cookie {
	return signInAs(b, c, client, demo.Developer, c.DevToken)
}

func signInAs(b *bed, c *company.Company, client *http.Client, name, secret string) *http.Cookie {
	form := url.Values{"name": {name}, "secret": {secret}, "next": {"/"}}
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, c.URL+"/sign-in", strings.NewReader(form.Encode()))
	b.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", c.URL)
	resp, err := client.Do(req)
	b.must(err)
	resp.Body.Close()
	for _, cookie := range resp.Cookies() {
		if cookie.Value != "" {
			return cookie
		}
	}
	b.Fatalf("sign in: %s and no cookie", resp.Status)
	return nil
}
