package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/units"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Spool is the durable memory of an agent: *spool.Spool, or a simulated one.
type Spool interface {
	Load() (spool.Contents, error)
	Read(id string) (spool.Record, error)
	Receive(e protocol.Envelope, r spool.Received) error
	Raise(id string, epoch int64) error
	Settle(id string, final protocol.TaskStatus, void spool.Started) (protocol.TaskStatus, error)
	Bury(t spool.Tombstone) error
}

// Archive is what a spool keeps beside the stages.
type Archive interface {
	Evidence(id string) ([]protocol.EvidenceItem, error)
	OutputSize(id string) (int64, error)
	ReadOutput(id string, offset, size int64) (protocol.Output, error)
	Dump(id string, n int) (io.ReadCloser, int64, error)
	Prune(ids []string) error
}

// Launcher starts supervisors and knows whether they live.
type Launcher interface {
	// Launch starts a supervisor for a received task. Where one lives already, nothing is done.
	Launch(ctx context.Context, id string) error
	// Alive asks the kernel.
	Alive(id string) (bool, error)
	// Cancel asks a supervisor to end the whole process tree.
	Cancel(id string) error
}

// Packages tells what is installed: host.Packages.
type Packages interface {
	Installed(ctx context.Context, name string) (version string, err error)
}

// Config of an Agent. Fields without a remark are needed.
type Config struct {
	Host     host.Host
	Keys     func() (map[string]ed25519.PublicKey, error) // whose envelopes are obeyed, by protocol.KeyID
	Spool    Spool
	Archive  Archive
	Launcher Launcher
	Packages Packages
	// Command gives the runner of a scenario's health command, for probes; nil =
	// such a check can't be made.
	Command func(host.Work) health.Runner
	// Gather takes the evidence of a scenario apart from a task, and gives a
	// protocol.EvidenceReport as JSON; nil = none is taken.
	Gather func(context.Context, host.Work) (io.ReadCloser, error)
	// Attend is called before a task's supervisor is launched, and for each task
	// that Recover finds active; nil = nobody attends.
	Attend func(id string)

	Containment string       // for reports: cgroup | process-group, and why
	Features    Features     // what this host can and can't do, for reports
	SpoolDir    string       // whose free space is reported; "" = it is not
	Units       units.System // where services are looked for; zero = this host
	Local       *Local       // what root begins on the host itself; nil = nothing is
	Keyring     *Keyring     // whose keys a server may change; nil = none does
	Reviewed    Reviewed     // needed where Host.Review is set
	// Asked records what servers ask, and what of it is refused; nil = nothing is.
	Asked    *ledger.Ledger
	Identity *Identity // this host's certificate; nil = it is neither reported nor renewed
	Program  string    // the agent's own version
	BootID   string    // of this boot
	// Resolve is what an envelope means here; nil = Host.Resolve.
	Resolve     func(protocol.Envelope) (host.Work, error)
	RatePerHour int              // tasks of one service; 0 = 60
	Now         func() time.Time // nil = time.Now
	Logger      *slog.Logger     // nil = slog.Default
}

// DefaultRate is how many tasks of one service an agent takes in an hour,
// unless agent.yaml says otherwise. It bounds what a server that was taken over
// can do with reviewed scenarios.
const DefaultRate = 60

// maxLaunches is how often a supervisor that ends without a word is started
// again for the same task.
const maxLaunches = 3

// Agent is one host's agent. Its methods may be called at once.
type Agent struct {
	cfg   Config
	turn  chan struct{} // holds one token: who has it may change a task
	born  time.Time
	tally *tally

	discovering sync.Mutex // held during a look at the host's units
	laying      sync.Mutex // held while a scenario is laid

	mu        sync.Mutex // guards what follows; never held during I/O
	tasks     map[string]*task
	graves    map[string]spool.Tombstone
	epochs    map[string]int64       // by run: the highest shown
	accepted  map[string][]time.Time // by service: when tasks came in the last hour
	gathered  map[string][]time.Time // by service: when evidence apart from a task was taken in the last hour
	refused   refusals
	asking    asking
	gathering map[string]bool // services whose evidence is being taken apart from a task
	counts    map[protocol.Outcome]int64
	took      durations // of the tasks that ended
	stopping  bool
	stopped   chan struct{} // closed with stopping
}

var errStopping = restart.Errorf(restart.CodeStopping, "this agent is stopping")

// task is what is kept in memory of a task in the spool.
type task struct {
	received spool.Received
	envelope protocol.Envelope
	status   protocol.TaskStatus
	launches int
	changed  chan struct{} // closed and renewed with each change of status; nil = nobody waits
	grown    chan struct{} // the same for its output
}

func (t *task) done() bool { return t.status.Stage == restart.StageDone }

// New makes an Agent that knows nothing yet: see Recover.
func New(cfg Config) (*Agent, error) {
	if err := restart.CheckHost(cfg.Host.Name); err != nil {
		return nil, err
	}
	if cfg.Keys == nil || cfg.Spool == nil || cfg.Archive == nil || cfg.Launcher == nil || cfg.Packages == nil {
		return nil, errors.New("make an agent: Keys, Spool, Archive, Launcher and Packages are needed")
	}
	if cfg.Resolve == nil {
		cfg.Resolve = cfg.Host.Resolve
	}
	if cfg.RatePerHour == 0 {
		cfg.RatePerHour = DefaultRate
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Attend == nil {
		cfg.Attend = func(string) {}
	}
	a := &Agent{
		cfg: cfg, turn: make(chan struct{}, 1), tasks: map[string]*task{}, graves: map[string]spool.Tombstone{},
		epochs: map[string]int64{}, accepted: map[string][]time.Time{}, counts: map[protocol.Outcome]int64{},
		stopped: make(chan struct{}), born: cfg.Now(), tally: newTally(), gathering: map[string]bool{}, gathered: map[string][]time.Time{},
	}
	return a, nil
}

// take waits for the turn to change a task; give hands it on.
func (a *Agent) take(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *Agent) give() { <-a.turn }

// Stop lets no new task in, and ends the waits of Wait and Output. Tasks in
// hand go on without the agent.
func (a *Agent) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopping {
		a.stopping = true
		close(a.stopped)
	}
}

// Put takes a task (PUT). The same bytes under the same id are the same task,
// however often they come: the answer is its status now. Anything that does not
// fit is refused before a byte is written, in this order: signature and form
// (CodeBadSignature, CodeInvalid), host (CodeWrongHost), an id that is over
// (CodeTombstone) or stands for other bytes (CodeConflict), time
// (CodeClockSkew, CodeReplay), epoch (CodeStaleEpoch), service
// (CodeUnknownService), group and environment (CodeWrongGroup), reviewed bytes
// (CodeNotReviewed), parameters (CodeParam), package and tag (CodeNotInstalled),
// another task of the service or too many (CodeBusy), disk (CodeDiskFull).
// What is taken, and what is refused, is in the host's own record.
func (a *Agent) Put(ctx context.Context, id string, s protocol.Submission) (protocol.TaskStatus, error) {
	if err := restart.CheckID(id); err != nil {
		return protocol.TaskStatus{}, err
	}
	e, err := a.open(id, s.Sealed)
	if err != nil {
		a.noteRefused(protocol.Envelope{Task: id}, err)
		return protocol.TaskStatus{}, err
	}
	status, err := a.put(ctx, id, e, s)
	if err != nil {
		a.noteRefused(e, err)
	}
	return status, err
}

// open verifies an envelope.
func (a *Agent) open(id string, s protocol.Sealed) (protocol.Envelope, error) {
	if protocol.IsLocal(s) { // whatever keys are laid: nobody begins local work from elsewhere
		return protocol.Envelope{}, restart.Errorf(restart.CodeBadSignature, "the envelope says that it was sealed on a host itself, and such work is never taken from the network")
	}
	keys, err := a.cfg.Keys()
	if err != nil {
		return protocol.Envelope{}, err
	}
	e, err := protocol.Open(s, keys)
	if err != nil {
		return protocol.Envelope{}, err
	}
	if e.Task != id {
		return protocol.Envelope{}, restart.Errorf(restart.CodeInvalid, "the envelope of task %s was sent as task %s", e.Task, id)
	}
	return e, nil
}

func (a *Agent) put(ctx context.Context, id string, e protocol.Envelope, s protocol.Submission) (protocol.TaskStatus, error) {
	var none protocol.TaskStatus
	if e.Host != a.cfg.Host.Name {
		return none, restart.Errorf(restart.CodeWrongHost, "the envelope is for host %s, and this is %s", restart.Quote(e.Host), a.cfg.Host.Name).
			WithHint("compare the inventory's name and address of the host with host: in its agent.yaml")
	}
	if status, known, err := a.known(ctx, id, s); known || err != nil {
		return status, err
	}
	work, err := a.admit(ctx, e, s.Epoch)
	if err != nil {
		return none, a.refuse(id, err)
	}
	if err := a.take(ctx); err != nil {
		return none, err
	}
	defer a.give()
	// The same request may have been here meanwhile.
	if status, known, err := a.knownInTurn(id, s); known || err != nil {
		return status, err
	}
	status, err := a.receive(ctx, e, s, work.Scenario)
	return status, a.refuse(id, err)
}

// admit judges an envelope by the host's own files. Nothing is changed.
func (a *Agent) admit(ctx context.Context, e protocol.Envelope, epoch int64) (host.Work, error) {
	if err := e.CheckTime(a.cfg.Now()); err != nil {
		return host.Work{}, err
	}
	if err := a.fence(e.Run, epoch); err != nil {
		return host.Work{}, err
	}
	work, err := a.cfg.Resolve(e)
	if err != nil {
		return work, err
	}
	_, err = a.installed(ctx, work.Package, work.Service.Tag)
	return work, err
}

// receive makes the task durable and launches its supervisor.
func (a *Agent) receive(ctx context.Context, e protocol.Envelope, s protocol.Submission, by restart.Scenario) (protocol.TaskStatus, error) {
	var none protocol.TaskStatus
	now := a.cfg.Now().UTC()
	if err := a.refusedBefore(e.Task); err != nil { // the same request, twice at once
		return none, err
	}
	if err := a.room(e, s.Epoch, now); err != nil {
		return none, err
	}
	if id := a.holder(e.Service); id != "" { // before anything is recorded of it
		return none, a.busy(e.Service, id)
	}
	if e.Only == "" { // a rehearsal, or an end of what was begun, leaves what may run here as it is
		if err := a.raiseSerial(by); err != nil {
			return none, err
		}
	}
	r := spool.Received{Sealed: s.Sealed, Epoch: s.Epoch, ReceivedAt: now, BootID: a.cfg.BootID}
	local := protocol.IsLocal(s.Sealed)
	if !local {
		if err := a.noteTaken(e, now); err != nil {
			return none, err
		}
	} else if err := a.intend(e, now); err != nil {
		return none, err
	}
	if err := a.cfg.Spool.Receive(e, r); err != nil {
		err = a.explain(e, err)
		if local {
			err = errors.Join(err, a.conclude(e.Task, protocol.OutcomeNotStarted, restart.Escape(err.Error())))
		}
		return none, err
	}
	t := &task{received: r, envelope: e, status: received(e, r), launches: 1}
	status := t.status
	a.mu.Lock()
	a.tasks[e.Task] = t
	a.epochs[e.Run] = max(a.epochs[e.Run], s.Epoch)
	a.accepted[e.Service] = append(a.accepted[e.Service], now)
	a.mu.Unlock()
	log := a.cfg.Logger.With("run_id", e.Run, "task_id", e.Task, "service", e.Service, "actor", e.Actor)
	log.Info("task received", "scenario", e.Scenario, "digest", e.Digest, "reason", e.Reason)
	a.cfg.Attend(e.Task)
	if err := a.cfg.Launcher.Launch(context.WithoutCancel(ctx), e.Task); err != nil {
		log.Error("supervisor not launched; it will be tried again", "error", err) // by Refresh
	}
	return status, nil
}

// room judges, in turn, what other tasks and the clock say now.
func (a *Agent) room(e protocol.Envelope, epoch int64, now time.Time) error {
	if err := e.CheckTime(now); err != nil { // the turn may have taken long
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return errStopping.WithHint("it will be back in a moment; nothing was started")
	}
	if epoch < a.epochs[e.Run] {
		return stale(e.Run, epoch, a.epochs[e.Run])
	}
	recent := lastHour(a.accepted[e.Service], now)
	a.accepted[e.Service] = recent
	if len(recent) >= a.cfg.RatePerHour {
		return restart.Errorf(restart.CodeBusy, "this host has taken %d tasks of service %s within an hour, and takes no more", len(recent), e.Service).
			WithHint("wait, or raise task_rate_per_hour in the host's agent.yaml")
	}
	return nil
}

// lastHour drops the times that are over an hour old.
func lastHour(times []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return now.Sub(at) >= time.Hour })
}

// explain turns the spool's errors into sentences.
func (a *Agent) explain(e protocol.Envelope, err error) error {
	if busy, ok := errors.AsType[*spool.BusyError](err); ok {
		return a.busy(e.Service, busy.Task).Because(err)
	}
	return diskFull(err)
}

// diskFull says in plain words that there is no room.
func diskFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return restart.Errorf(restart.CodeDiskFull, "there is no room in the spool of this host, so nothing was started").
			WithHint("make room on the file system of the agent's spool").Because(err)
	}
	return err
}

// known answers a PUT whose id has been here before. A later epoch of the run
// is made durable.
func (a *Agent) known(ctx context.Context, id string, s protocol.Submission) (protocol.TaskStatus, bool, error) {
	if err := a.take(ctx); err != nil {
		return protocol.TaskStatus{}, false, err
	}
	defer a.give()
	return a.knownInTurn(id, s)
}

func (a *Agent) knownInTurn(id string, s protocol.Submission) (protocol.TaskStatus, bool, error) {
	var none protocol.TaskStatus
	a.mu.Lock()
	t, ok := a.tasks[id]
	grave, buried := a.graves[id]
	a.mu.Unlock()
	switch {
	case buried:
		return none, false, over(grave)
	case !ok:
		return none, false, a.refusedBefore(id)
	case !t.received.Same(s.Sealed):
		return none, false, restart.Errorf(restart.CodeConflict, "task %s is here already, with other bytes", id).
			WithHint("an envelope is signed once; sending it again means the same bytes")
	}
	if err := a.raise(id, t.envelope.Run, s.Epoch); err != nil {
		return none, false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.status, true, nil
}

// over says that an id can never run (again).
func over(t spool.Tombstone) error {
	if t.Outcome != "" {
		return restart.Errorf(restart.CodeTombstone, "task %s is over and was forgotten (%s)", t.Task, t.Outcome)
	}
	return restart.Errorf(restart.CodeTombstone, "task %s was ended for ever before it started", t.Task).WithHint("another try is another task")
}

// fence refuses a server that has lost the run.
func (a *Agent) fence(run string, epoch int64) error {
	if epoch < 1 {
		return restart.Errorf(restart.CodeInvalid, "epoch %d is not acceptable: it counts from 1", epoch)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if highest := a.epochs[run]; epoch < highest {
		return stale(run, epoch, highest)
	}
	return nil
}

func stale(run string, epoch, highest int64) error {
	return restart.Errorf(restart.CodeStaleEpoch, "run %s has been taken by another server: epoch %d came after %d", run, epoch, highest)
}

// raise is fence, and makes a later epoch durable beside the task.
func (a *Agent) raise(id, run string, epoch int64) error {
	if err := a.fence(run, epoch); err != nil {
		return err
	}
	a.mu.Lock()
	same := epoch == a.epochs[run]
	a.mu.Unlock()
	if same {
		return nil
	}
	if err := a.cfg.Spool.Raise(id, epoch); err != nil {
		return diskFull(fmt.Errorf("keep epoch %d of run %s: %w", epoch, run, err))
	}
	a.mu.Lock()
	a.epochs[run] = max(a.epochs[run], epoch)
	a.mu.Unlock()
	return nil
}

// installed judges the package of a service, and gives its version.
func (a *Agent) installed(ctx context.Context, name, tag string) (string, error) {
	if name == "" {
		return "", nil
	}
	version, err := a.cfg.Packages.Installed(ctx, name)
	switch {
	case err != nil:
		return "", err
	case version == "":
		return "", restart.Errorf(restart.CodeNotInstalled, "package %s is not installed on this host", name).
			WithHint("the service does not run here: untick the host, or correct package: in its services.d")
	case tag != "" && !host.Carries(version, tag):
		return version, restart.Errorf(restart.CodeNotInstalled, "package %s has version %s here, which does not carry the tag %s", name, version, tag).
			WithHint("install the version that is meant, or correct tag: in services.d")
	}
	return version, nil
}
