package agent_test

import (
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// What is counted comes from real requests: a task that runs, and one that is refused.
func TestMetricsMoveWithTasks(t *testing.T) {
	b := newBed(t)
	r := b.start()
	e := b.envelope(b.script("true"))
	r.submit(e)
	r.until(e.Task, done)
	other := b.envelope(e.Digest)
	other.Host = "other.example.com"
	_, err := r.put(b.seal(other), other.Task)
	wantCode(t, err, restart.CodeWrongHost)
	shown := r.metrics()
	for _, want := range []string{
		`tasks_total{outcome="succeeded"} 1`, `refusals_total{code="wrong_host"} 1`, `requests_total{verb="put",status="200"} 1`,
		`tasks_kept 1`, `scenarios{state="accepted"} 1`, `task_duration_seconds_count 1`, `ready{check="spool"} 1`, `ready{check="credentials"} 1`,
		`credentials_stale 0`,
	} {
		if !strings.Contains(shown, "restartilka_agent_"+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if got := sample(t, shown, "resident_memory_bytes"); got < 1<<20 || got > 1<<30 {
		t.Errorf("%v bytes of memory", got)
	}
	if got := sample(t, shown, "start_timestamp_seconds"); math.Abs(float64(time.Now().Unix())-got) > 60 {
		t.Errorf("started at %v", got)
	}
	if free, size := sample(t, shown, "spool_filesystem_free_bytes"), sample(t, shown, "spool_filesystem_size_bytes"); free <= 0 || free > size {
		t.Errorf("%v of %v bytes free", free, size)
	}
	if t.Failed() {
		t.Log(shown)
	}
}

// sample gives the value of a metric without labels.
func sample(t *testing.T, shown, name string) float64 {
	t.Helper()
	for line := range strings.Lines(shown) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "restartilka_agent_"+name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// metrics asks the status listener.
func (r *running) metrics() string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.status+"/metrics", nil)
	r.must(err)
	resp, err := http.DefaultClient.Do(req)
	r.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r.must(err)
	return string(body)
}
