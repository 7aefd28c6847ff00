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
// that is. The next phase, or the end, is what the browser then sees.
func told(c *company.Company) (name, content string) {
	script := func(step string) string {
		return fmt.Sprintf("sleep 0.35; echo \"#host# %s $(date +%%s%%N)\" >> %s", step, filepath.Join(c.Dir, "told"))
	}
	return "told", `format: 1
name: told
serial: 1
author: bench@restartilka.invalid
kind: restart
services: [` + demo.ServiceName + `]
description: Tells when its steps end
strategy: {batches: [1], task_timeout: 30s}
steps:
  run: {script: '` + script("run") + `'}
  undrain: {script: '` + script("undrain") + `'}
`
}

// shown is when a host's row first had a look.
type shown struct {
	host, look string
	at         time.Time
}

// events measures the way from a script on a host to somebody who watches the
// run's page: a raw reader of the page's own event stream stands for the
// browser, so painting is not in it.
func (s *session) events(b *bed) error {
	c := company.New(b, company.Options{Hosts: min(s.hosts, 10), Scenario: told, Agent: anyRate})
	ready(b, c)
	client := httpsClient(b, c)
	defer client.CloseIdleConnections()
	cookie := signIn(b, c, client)
	run, err := c.Dev.Draft(b.ctx, restart.Request{Service: demo.ServiceName, Reason: "measure it"}, "")
	b.must(err)
	seen := make(map[string]time.Time) // by "host look"
	var mu sync.Mutex
	watched := make(chan error, 1)
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	open := make(chan struct{})
	go func() {
		watched <- watch(ctx, client, c.URL+"/runs/"+run.ID+"/events", cookie, func() { close(open) }, func(x shown) {
			mu.Lock()
			defer mu.Unlock()
			if key := x.host + " " + x.look; seen[key].IsZero() {
				seen[key] = x.at
			}
		})
	}()
	select {
	case <-open:
	case err := <-watched:
		b.Fatalf("watch the run: %v", err)
	}
	_, err = c.Dev.Start(b.ctx, run.ID, wire.StartRequest{})
	b.must(err)
	select {
	case err = <-watched:
		b.must(err)
	case <-time.After(time.Minute):
		b.Fatal("the event stream does not end")
	}
	b.must(s.lags(c, seen))
	return nil
}

// lags compares what the scripts have told with what was shown.
func (s *session) lags(c *company.Company, seen map[string]time.Time) error {
	told, err := os.ReadFile(filepath.Join(c.Dir, "told"))
	if err != nil {
		return err
	}
	look := map[string]string{"run": "undraining", "undrain": "Done"}
	byStep := map[string][]time.Duration{}
	var all []time.Duration
	for line := range strings.Lines(string(told)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return fmt.Errorf("a script told %q", line)
		}
		ns, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return err
		}
		at, ok := seen[fields[0]+" "+look[fields[1]]]
		if !ok {
			return fmt.Errorf("the page never showed %s of %s", look[fields[1]], fields[0])
		}
		lag := at.Sub(time.Unix(0, ns))
		all, byStep[fields[1]] = append(all, lag), append(byStep[fields[1]], lag)
	}
	if len(all) == 0 {
		return errors.New("no script has told anything")
	}
	p := percentiles(all)
	s.results.Event = new(p.P99)
	s.detail("event_to_browser_p50_ms", p.P50)
	s.detail("event_to_browser_phase_ms", percentiles(byStep["run"]))
	s.detail("event_to_browser_outcome_ms", percentiles(byStep["undrain"]))
	return nil
}

// row finds the parts of a row in a frame: its name and what it says.
var (
	row = regexp.MustCompile(`(?s)<li id="host-\d+".*?</li>`)
	tag = regexp.MustCompile(`<[^>]*>`)
)

// watch reads the event stream of a run's page until it ends.
func watch(ctx context.Context, client *http.Client, address string, cookie *http.Cookie, opened func(), each func(shown)) error {
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
	opened()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	var data strings.Builder
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "data: "):
			data.WriteString(strings.TrimPrefix(line, "data: ") + "\n")
		case line == "event: end":
			return nil
		case line == "":
			at := time.Now()
			for _, r := range row.FindAllString(data.String(), -1) {
				text := strings.Join(strings.Fields(tag.ReplaceAllString(r, " ")), " ")
				for _, look := range []string{"undraining", "Done"} {
					if strings.Contains(text, look) {
						each(shown{hostName(text), look, at})
					}
				}
			}
			data.Reset()
		}
	}
	return lines.Err()
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
	form := url.Values{"name": {demo.Developer}, "secret": {c.DevToken}, "next": {"/"}}
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
