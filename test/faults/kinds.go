package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// kind is one way to break things. inject calls strike at the moment at which
// the fault is there; where it does not, there was nothing to break. It leaves
// nothing behind that mend does not put right.
type kind struct {
	name   string
	what   string // for people
	needs  need
	weight int            // how often, beside the others; 0 = once in a run that has time for it
	lasts  time.Duration  // what it takes longer than others: its own length, and the time-outs that it waits for
	early  bool           // soon after the start of the runs: what it waits for is yet to come
	before func(r *round) // ahead of the runs
	inject func(ctx context.Context, r *round) error
}

// need is what a kind can't be made without.
type need int

const (
	needRoot need = 1 << iota
	needStrace
	needRsyslog
	needPostgres // a lane on it
	needSQLite   // a lane on it
)

// kinds is the table of all that is injected. A new one is a function and a
// line here.
var kinds = []kind{
	{name: "kill-server", what: "kill -9 of a server", weight: 10, inject: killServer},
	{name: "kill-agent", what: "kill -9 of an agent, or several", weight: 10, inject: killAgents},
	{name: "kill-supervisor", what: "kill -9 of the supervisor of a task", weight: 8, early: true, inject: killSupervisor},
	{name: "kill-agent-and-supervisor", what: "kill -9 of an agent and all supervisors of its host", weight: 6, early: true, inject: killAgentAndSupervisors},
	{name: "kill-server-and-agent", what: "kill -9 of a server and an agent at once", weight: 8, inject: killServerAndAgents},
	{name: "kill-all", what: "kill -9 of every server and agent at once", weight: 5, inject: killAll},
	{name: "kill-twice", what: "kill -9 of a server, and again while it starts", weight: 5, inject: killTwice},

	{name: "two-at-once", what: "two of the everyday faults, the second while the first is got over", weight: 10, lasts: 2 * time.Second, inject: twoAtOnce},

	{name: "call-kills-server", what: "kill -9 of a server at its Nth fsync, write, rename …", needs: needStrace, weight: 10, early: true, inject: callOnServer(killedAt, "signal=KILL")},
	{name: "call-kills-agent", what: "the same of an agent", needs: needStrace, weight: 10, early: true, inject: callOnAgent(killedAt, "signal=KILL")},
	{name: "call-kills-supervisor", what: "the same of a supervisor", needs: needStrace, weight: 10, early: true, inject: callOnSupervisor(killedAt, "signal=KILL")},
	{name: "call-fails-server", what: "the Nth fsync, write or rename of a server fails with EIO or ENOSPC", needs: needStrace, weight: 6, early: true, inject: callOnServer(failedAt, "error=EIO", "error=ENOSPC")},
	{name: "call-fails-agent", what: "the same of an agent", needs: needStrace, weight: 6, early: true, inject: callOnAgent(failedAt, "error=EIO", "error=ENOSPC")},
	{name: "call-fails-supervisor", what: "the same of a supervisor", needs: needStrace, weight: 6, early: true, inject: callOnSupervisor(failedAt, "error=EIO", "error=ENOSPC")},
	{name: "start-kills-server", what: "a server is killed, and its successor at the Nth call of its start", needs: needStrace, weight: 6, inject: killServerAtStart},
	{name: "start-kills-agent", what: "the same of an agent", needs: needStrace, weight: 6, inject: killAgentAtStart},

	{name: "freeze-server", what: "SIGSTOP of a server for less than its lease", weight: 4, lasts: 2 * time.Second, inject: freezeServer(500*time.Millisecond, 2*time.Second)},
	{name: "freeze-server-past-lease", what: "SIGSTOP of a server for longer than its lease: another takes over, then it wakes", needs: needPostgres, weight: 6, lasts: 4 * time.Second, inject: freezeServer(4*time.Second, 6*time.Second)},
	{name: "freeze-agent", what: "SIGSTOP of an agent for up to 3 s", weight: 4, lasts: 2 * time.Second, inject: freezeAgents(500*time.Millisecond, 3*time.Second)},
	{name: "freeze-agent-long", what: "SIGSTOP of an agent for longer than an envelope lives and contact_timeout", lasts: 80 * time.Second, inject: freezeAgents(36*time.Second, 38*time.Second)},
	{name: "freeze-supervisor", what: "SIGSTOP of a supervisor for up to 3 s", weight: 4, early: true, lasts: 2 * time.Second, inject: freezeSupervisor},

	{name: "net-refused", what: "connections to a host are reset, old and new, for up to 2 s", weight: 6, lasts: time.Second, inject: netRefused},
	{name: "net-request-dropped", what: "a request to a host is lost, and its connection", weight: 8, early: true, inject: netDrop(func(n int) rule { return rule{dropUp: n} })},
	{name: "net-answer-dropped", what: "a request arrives and its answer is lost, with the connection", weight: 10, early: true, inject: netDrop(func(n int) rule { return rule{dropAnswer: n} })},
	{name: "net-half-open", what: "nothing passes to the host, to the server, or either way, for up to 3 s, and then all of it", weight: 6, lasts: 2 * time.Second, inject: netHalfOpen(500*time.Millisecond, 3*time.Second)},
	{name: "net-half-open-long", what: "the same for longer than the time-outs", lasts: 80 * time.Second, inject: netHalfOpen(36*time.Second, 38*time.Second)},
	{name: "net-reset-in-output", what: "connections are reset while a script's output is read", weight: 6, before: moods("chats"), inject: netReset},
	{name: "net-delay", what: "each piece takes 0.2 to 1 s, both ways", weight: 3, lasts: 8 * time.Second, inject: netDelay(200*time.Millisecond, time.Second, 3*time.Second)},
	{name: "net-delay-past-envelope", what: "each piece takes longer than the 30 s that an envelope lives", lasts: 90 * time.Second, inject: netDelay(31*time.Second, 33*time.Second, 40*time.Second)},

	{name: "reboot-host", what: "agent, supervisors and scripts of a host are killed, and the kernel has another boot id", needs: needRoot, weight: 6, inject: rebootHost},

	{name: "agent-disk-full", what: "the disk of an agent's spool is full for up to 1.5 s, or was before the run", needs: needRoot, weight: 6, lasts: time.Second, before: perhapsFullAlready, inject: agentDiskFull},
	{name: "server-disk-full", what: "the disk of a server's SQLite is full for up to 1.5 s", needs: needRoot | needSQLite, weight: 6, lasts: 2 * time.Second, inject: serverDiskFull},
	{name: "torn-spool", what: "an agent and its supervisors are killed, and the newest file of a task is cut off or garbled", weight: 8, early: true, inject: tornSpool},
	{name: "audit-bit", what: "a bit is turned over in a copy of the stored trail: audit verify has to find it", weight: 3, inject: auditBit},

	{name: "log-killed", what: "kill -9 of the remote log server, which is back after up to 1 s", needs: needRsyslog, weight: 4, lasts: time.Second, inject: logKilled},
	{name: "log-frozen", what: "SIGSTOP of the remote log server for up to 3 s", needs: needRsyslog, weight: 3, lasts: 2 * time.Second, inject: logFrozen},
	{name: "log-away", what: "the remote log server is stopped for 2 to 4 s", needs: needRsyslog, weight: 3, lasts: 3 * time.Second, inject: logAway},

	{name: "rights-revoked", what: "the token of the person who restarts is revoked in mid-run", weight: 4, inject: rightsRevoked},
	{name: "certificate-revoked", what: "a host's certificate is revoked in mid-run", weight: 2, lasts: 10 * time.Second, before: ownCertificate, inject: certificateRevoked},
	{name: "certificate-expired", what: "a host's certificate expires in mid-run", weight: 3, lasts: 3 * time.Second, before: shortCertificate, inject: certificateExpired},
	{name: "scenario-edited", what: "the scenario's file on a host is changed after the plan", weight: 4, inject: scenarioEdited},

	{name: "script-forks", what: "scripts that leave processes behind", weight: 2, before: moods("forks"), inject: onlyWatch},
	{name: "script-daemonises", what: "scripts that leave a daemon in a session of its own", weight: 2, before: moods("daemon"), inject: onlyWatch},
	{name: "script-ignores-term", what: "a script that ignores TERM is aborted by force", weight: 3, lasts: 2 * time.Second, before: moods("no-term"), inject: forceAbortTheBusy},
	{name: "script-kills-parent", what: "a script that kills its supervisor", weight: 3, before: moodOfOne("kill-parent"), inject: onlyWatch},
	{name: "script-fills-disk", what: "a script that fills the disk of the spool", needs: needRoot, weight: 3, lasts: time.Second, before: moodOfFirst("fills-disk"), inject: onlyWatch},
	{name: "script-prints", what: "a script that prints 200 MB", lasts: 20 * time.Second, before: moodOfOne("prints"), inject: onlyWatch},

	{name: "postgres-killed", what: "kill -9 of PostgreSQL and all its processes, and a new start", needs: needPostgres, weight: 5, lasts: 2 * time.Second, inject: postgresKilled},
	{name: "postgres-frozen", what: "SIGSTOP of PostgreSQL for up to 4 s", needs: needPostgres, weight: 4, lasts: 3 * time.Second, inject: postgresFrozen},
	{name: "postgres-cut", what: "every connection to PostgreSQL is terminated", needs: needPostgres, weight: 6, inject: postgresCut},
	{name: "sqlite-locked", what: "another process holds SQLite's write lock for 5 s", needs: needSQLite, weight: 2, lasts: 5 * time.Second, inject: sqliteLocked},

	{name: "agent-upgraded", what: "an agent's program is replaced, and it is stopped and started, in mid-run", weight: 6, inject: agentUpgraded},
	{name: "server-upgraded", what: "the same of a server", weight: 5, inject: serverUpgraded},

	{name: "asked-twice", what: "the same request twice at once, with one idempotency key, and both confirmed twice", weight: 5, inject: askedTwice},
	{name: "pause-and-resume", what: "a run is paused and resumed from every server at once", weight: 5, inject: pauseAndResume},
	{name: "abort", what: "runs are aborted, from every server at once", weight: 4, inject: presses("abort")},
	{name: "force-abort", what: "runs are aborted by force, from every server at once", weight: 4, inject: presses("force-abort")},
	{name: "verbs-at-once", what: "pause, resume, abort at once, from every server", weight: 5, inject: presses("pause", "resume", "pause", "abort")},
}

// means are what this machine and user have to break things with.
type means struct {
	root, strace, rsyslog, postgres bool
	missing                         map[need]error
}

func look() means {
	m := means{missing: map[need]error{}}
	if m.root = os.Geteuid() == 0; !m.root {
		m.missing[needRoot] = errors.New("only root may mount and make namespaces")
	}
	_, err := exec.LookPath("strace")
	if m.strace = err == nil; !m.strace {
		m.missing[needStrace] = errors.New("apt-get install strace")
	}
	_, err = exec.LookPath("rsyslogd")
	tls, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so")
	if m.rsyslog = err == nil && len(tls) > 0; !m.rsyslog {
		m.missing[needRsyslog] = errors.New("apt-get install rsyslog rsyslog-gnutls")
	}
	_, err = postgresPrograms()
	if m.postgres = err == nil; !m.postgres {
		m.missing[needPostgres] = err
	}
	return m
}

// lacks says why a kind can't be made here; nil = it can.
func (m means) lacks(k *kind) error {
	for n := needRoot; n <= needPostgres; n <<= 1 {
		if err := m.missing[n]; k.needs&n != 0 && err != nil {
			return err
		}
	}
	return nil
}

// fits tells whether a kind means something to a lane.
func (k *kind) fits(l laneKind) bool {
	return (k.needs&needPostgres == 0 || l.postgres()) && (k.needs&needSQLite == 0 || !l.postgres())
}
