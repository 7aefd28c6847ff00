package receive

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

// Health is what /healthz answers: with 200 where OK, else with 503.
type Health struct {
	OK      bool     `json:"ok"`
	Wrong   []string `json:"wrong,omitempty"` // what a person has to look into
	Sources []Stats  `json:"sources"`         // by name
}

// meters tell how a receiver stands.
type meters struct {
	folder      string
	store       *Store
	credentials *pki.Credentials
	strangers   *prometheus.CounterVec
}

func newMeters(folder string, s *Store, c *pki.Credentials) *meters {
	m := &meters{folder: folder, store: s, credentials: c, strangers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "restartilka_receiver_turned_away_total", Help: "Requests that were turned away: a stranger's, or to an unknown place.",
	}, []string{"why"})}
	for _, why := range []string{"stranger", "unknown"} {
		m.strangers.WithLabelValues(why)
	}
	return m
}

func (m *meters) turned(why string) { m.strangers.WithLabelValues(why).Inc() }

func (m *meters) stats() []Stats {
	var all []Stats
	for _, name := range slices.Sorted(maps.Keys(m.store.sources)) {
		all = append(all, m.store.sources[name].stats())
	}
	return all
}

func (m *meters) health() Health {
	h := Health{Sources: m.stats()}
	for _, s := range h.Sources {
		if s.AlarmCount > 0 {
			h.Wrong = append(h.Wrong, fmt.Sprintf("%s: the alarm stands, %d of them; the first: %s: %s", s.Source, s.AlarmCount, s.Alarms[0].Kind, s.Alarms[0].Text))
		}
		if s.Error != "" {
			h.Wrong = append(h.Wrong, s.Error)
		}
		if s.Stuck > 0 {
			h.Wrong = append(h.Wrong, fmt.Sprintf("%s: the disk has not answered for %s", s.Source, restart.Span(s.Stuck.Truncate(time.Second))))
		}
	}
	if err := m.credentials.Err(); err != nil {
		h.Wrong = append(h.Wrong, err.Error())
	}
	if end := m.credentials.Leaf().NotAfter; time.Now().After(end) {
		h.Wrong = append(h.Wrong, "the receiver's certificate has expired")
	}
	h.OK = len(h.Wrong) == 0
	return h
}

// handler serves /healthz and /metrics.
func (m *meters) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, m.strangers)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h := m.health()
		w.Header().Set("Content-Type", "application/json")
		if !h.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.Encode(h) //nolint:errcheck // the peer has gone
	})
	return mux
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("restartilka_receiver_"+name, help, labels, nil)
}

var (
	descRecords    = describe("records_total", "Records that were stored since the start.", "source")
	descDuplicates = describe("duplicates_total", "Records that were stored already.", "source")
	descRefused    = describe("refused_total", "Batches that contradict the chain.", "source", "kind")
	descAlarms     = describe("alarms", "Alarms that stand.", "source")
	descFailing    = describe("failing", "1 while records can't be stored.", "source")
	descSeq        = describe("head_seq", "Number of the last record that is stored.", "source")
	descEpoch      = describe("head_epoch", "Epoch of the last record that is stored.", "source")
	descBytes      = describe("stored_bytes", "Size of the source's records.", "source")
	descReceived   = describe("last_received_timestamp_seconds", "When records were stored last; 0 for never since the start.", "source")
	descFree       = describe("free_bytes", "Free on the disk of the store.")
	descEnds       = describe("certificate_not_after_timestamp_seconds", "When the receiver's certificate ends.")
)

var alarmKinds = []AlarmKind{AlarmMalformed, AlarmForeign, AlarmChanged, AlarmBroken}

// Describe implements prometheus.Collector.
func (m *meters) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRecords, descDuplicates, descRefused, descAlarms, descFailing, descSeq, descEpoch, descBytes, descReceived, descFree, descEnds,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *meters) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, s := range m.stats() {
		counter(descRecords, s.Records, s.Source)
		counter(descDuplicates, s.Duplicates, s.Source)
		for _, kind := range alarmKinds {
			counter(descRefused, s.Refused[kind], s.Source, string(kind))
		}
		gauge(descAlarms, float64(s.AlarmCount), s.Source)
		failing := 0.0
		if s.Error != "" || s.Stuck > 0 {
			failing = 1
		}
		gauge(descFailing, failing, s.Source)
		gauge(descSeq, float64(s.Head.Seq), s.Source)
		gauge(descEpoch, float64(s.Head.Epoch), s.Source)
		gauge(descBytes, float64(s.Bytes), s.Source)
		received := 0.0
		if !s.Received.IsZero() {
			received = float64(s.Received.UnixMilli()) / 1000
		}
		gauge(descReceived, received, s.Source)
	}
	if free, err := freeBytes(m.folder); err == nil {
		gauge(descFree, float64(free))
	}
	gauge(descEnds, float64(m.credentials.Leaf().NotAfter.Unix()))
}
