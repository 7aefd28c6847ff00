package server

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/lock"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/internal/store"
)

// meters count what happens in this process. What is a state, and not an event,
// is asked of the parts when it is scraped: see collector. No label ever holds
// a name from outside: a host, a person, a service or a run. Names that the
// configuration gives, of a sink or a lock, are few.
type meters struct {
	registry *prometheus.Registry

	runs     *prometheus.CounterVec   // kind, outcome
	runTime  *prometheus.HistogramVec // kind
	tasks    *prometheus.CounterVec   // kind, outcome
	taskTime *prometheus.HistogramVec // kind

	calls    *prometheus.CounterVec   // verb, result
	callTime *prometheus.HistogramVec // verb
	refusals *prometheus.CounterVec   // code

	dumps *prometheus.CounterVec // runtime, origin

	schedules *prometheus.CounterVec // outcome
	asked     *prometheus.CounterVec // system, verb, result
	tickets   *prometheus.CounterVec // tracker, result
	locks     *prometheus.CounterVec // lock, result
	commands  *prometheus.CounterVec // chat, result

	requests    *prometheus.CounterVec   // class, method, code
	requestTime *prometheus.HistogramVec // class
	streams     *prometheus.GaugeVec     // via
}

// The bounds of the histograms, in seconds. A task's are those of the agent's
// own histogram.
var (
	taskBounds    = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}
	runBounds     = []float64{5, 15, 30, 60, 300, 600, 1800, 3600, 7200, 21600}
	callBounds    = []float64{0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	requestBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
)

// knownCodes are the refusals of agents that have a count of their own. A host
// may say what it likes: anything else is "other".
var knownCodes = []restart.Code{
	restart.CodeBadSignature, restart.CodeClockSkew, restart.CodeReplay, restart.CodeNotReviewed, restart.CodeWrongHost, restart.CodeWrongGroup,
	restart.CodeUnknownService, restart.CodeNotInstalled, restart.CodeParam, restart.CodeBusy, restart.CodeDiskFull, restart.CodeStaleEpoch,
	restart.CodeStopping, restart.CodeTombstone, restart.CodeConflict, restart.CodeForbidden, restart.CodeInvalid, restart.CodeReason,
	restart.CodeNotFound, restart.CodeUnauthorised, restart.CodeTooLarge, restart.CodeInternal,
}

const otherCode = "other"

func newMeters() *meters {
	m := &meters{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.runs = counter("restartilka_runs_finished_total", "Runs that this server brought to their end, by kind of scenario and outcome.", "kind", "outcome")
	m.runTime = histogram("restartilka_run_duration_seconds", "Time from a run's start to its end, pauses included.", runBounds, "kind")
	m.tasks = counter("restartilka_tasks_finished_total", "Hosts of runs that this server brought to their end, by kind of scenario and outcome.", "kind", "outcome")
	m.taskTime = histogram("restartilka_task_duration_seconds", "Time from calling a host's agent to the outcome.", taskBounds, "kind")
	m.calls = counter("restartilka_dispatch_requests_total", "Requests to agents, by verb and result.", "verb", "result")
	m.callTime = histogram("restartilka_dispatch_request_duration_seconds", "Time until an agent answered; the verbs status and output wait on purpose, and are left out.", callBounds, "verb")
	m.refusals = counter("restartilka_dispatch_refusals_total", "Requests that agents refused, by code.", "code")
	m.dumps = counter("restartilka_dumps_total", "Thread dumps that this server has stored, by runtime and origin.", "runtime", "origin")
	m.schedules = counter("restartilka_schedules_ended_total", "Planned runs that this server brought to their end, by outcome.", "outcome")
	m.asked = counter("restartilka_monitoring_requests_total", "Questions to monitoring systems, by verb and result.", "system", "verb", "result")
	m.tickets = counter("restartilka_ticket_checks_total", "Looks at tickets, by what their tracker has said.", "tracker", "result")
	m.locks = counter("restartilka_lock_attempts_total", "What came of asking for locks shared with others, and of asking whether runs still have them.", "lock", "result")
	m.commands = counter("restartilka_chat_commands_total", "Commands and presses of buttons in chats, by how they ended.", "chat", "result")
	m.requests = counter("restartilka_http_requests_total", "Requests answered, by class of route, method and status.", "class", "method", "code")
	m.requestTime = histogram("restartilka_http_request_duration_seconds", "Time to answer a request; event streams are left out.", requestBounds, "class")
	m.streams = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "restartilka_event_streams_open", Help: "Event streams that are open now, of the API and of pages."}, []string{"via"})
	m.registry.MustRegister(m.streams, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.start()
	return m
}

// start shows every count that can be told in advance as 0, so that the first
// event is seen as a rise.
func (m *meters) start() {
	for _, kind := range []restart.Kind{restart.KindRestart, restart.KindThreadDump, restart.KindCustom} {
		for _, state := range restart.RunStates() {
			if state.Final() {
				m.runs.WithLabelValues(string(kind), string(state))
			}
		}
		for _, state := range restart.TaskStates() {
			if state.Final() {
				m.tasks.WithLabelValues(string(kind), string(state))
			}
		}
		m.runTime.WithLabelValues(string(kind))
		m.taskTime.WithLabelValues(string(kind))
	}
	for _, verb := range []string{"put", dispatch.VerbStatus, dispatch.VerbOutput, "dumps", "cancel", "forget", "check", "probe", "evidence"} {
		for _, result := range dispatch.Results() {
			m.calls.WithLabelValues(verb, string(result))
		}
		if timed(verb) {
			m.callTime.WithLabelValues(verb)
		}
	}
	for _, origin := range store.DumpOrigins() {
		for _, runtime := range dump.Runtimes() {
			m.dumps.WithLabelValues(string(runtime), string(origin))
		}
		m.dumps.WithLabelValues(unknownRuntime, string(origin))
	}
	for _, code := range knownCodes {
		m.refusals.WithLabelValues(string(code))
	}
	m.refusals.WithLabelValues(otherCode)
	for _, via := range []string{viaAPI, viaWeb} {
		m.streams.WithLabelValues(via)
	}
	for _, state := range restart.ScheduleStates() {
		if !state.Open() {
			m.schedules.WithLabelValues(string(state))
		}
	}
}

// name shows the counts of what the configuration names as 0, as start does.
func (m *meters) name(systems, trackers, locks, chats []string) {
	for _, system := range systems {
		for _, verb := range silence.Verbs() {
			for _, result := range silence.Results() {
				m.asked.WithLabelValues(system, string(verb), string(result))
			}
		}
	}
	for _, tracker := range trackers {
		for _, state := range restart.TicketStates() {
			m.tickets.WithLabelValues(tracker, string(state))
		}
	}
	for _, name := range locks {
		for _, answer := range lock.Answers() {
			m.locks.WithLabelValues(name, string(answer))
		}
	}
	for _, name := range chats {
		for _, result := range chat.Results() {
			m.commands.WithLabelValues(name, string(result))
		}
	}
}

// RunEnded implements orchestrator.Observer.
func (m *meters) RunEnded(kind restart.Kind, state restart.RunState, took time.Duration) {
	m.runs.WithLabelValues(string(kind), string(state)).Inc()
	if took >= 0 {
		m.runTime.WithLabelValues(string(kind)).Observe(took.Seconds())
	}
}

// neverBegan is told of a run that ended while it waited for an approval.
func (m *meters) neverBegan(run restart.Run) {
	for range run.Tasks {
		m.TaskEnded(run.Kind, restart.TaskNotStarted, -1)
	}
	m.RunEnded(run.Kind, run.State, -1)
}

// TaskEnded implements orchestrator.Observer.
func (m *meters) TaskEnded(kind restart.Kind, state restart.TaskState, took time.Duration) {
	m.tasks.WithLabelValues(string(kind), string(state)).Inc()
	if took >= 0 {
		m.taskTime.WithLabelValues(string(kind)).Observe(took.Seconds())
	}
}

// called is told of each request to an agent.
func (m *meters) called(c dispatch.Call) {
	m.calls.WithLabelValues(c.Verb, string(c.Result)).Inc()
	if timed(c.Verb) && (c.Result == dispatch.ResultOK || c.Result == dispatch.ResultRefused) {
		m.callTime.WithLabelValues(c.Verb).Observe(c.Took.Seconds())
	}
	if c.Result == dispatch.ResultRefused {
		code := otherCode
		if slices.Contains(knownCodes, c.Code) {
			code = string(c.Code)
		}
		m.refusals.WithLabelValues(code).Inc()
	}
}

// scheduled is told how a planned run ended.
func (m *meters) scheduled(s restart.ScheduleState) { m.schedules.WithLabelValues(string(s)).Inc() }

// monitored is told of each question to a monitoring system.
func (m *meters) monitored(c silence.Call) {
	m.asked.WithLabelValues(c.System, string(c.Verb), string(c.Result)).Inc()
}

// looked is told what a tracker has said of a ticket.
func (m *meters) looked(tracker string, s restart.TicketState) {
	m.tickets.WithLabelValues(tracker, string(s)).Inc()
}

// shared is told what came of asking for a lock that is shared with others.
func (m *meters) shared(name string, a lock.Answer) {
	m.locks.WithLabelValues(name, string(a)).Inc()
}

// commanded is told how a command in a chat ended.
func (m *meters) commanded(name string, r chat.Result) {
	m.commands.WithLabelValues(name, string(r)).Inc()
}

func timed(verb string) bool { return verb != dispatch.VerbStatus && verb != dispatch.VerbOutput }

// metrics answers /metrics. What one part can't tell leaves the others there.
func (s *Server) metrics() http.Handler {
	s.meters.registry.MustRegister(collector{s})
	return promhttp.HandlerFor(s.meters.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}
