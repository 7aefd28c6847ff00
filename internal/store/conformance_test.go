package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// TestConformance holds every database to the same promises.
func TestConformance(t *testing.T) {
	storetest.Each(t, Exercise)
}

// Exercise is the whole of what a database has to do for us, whichever it is.
func Exercise(t *testing.T, newDSN storetest.NewDSN) {
	for name, test := range map[string]func(*testing.T, storetest.NewDSN){
		"before a run":                exerciseBefore,
		"open twice":                  exerciseReopen,
		"newer schema":                exerciseNewerSchema,
		"errors after close":          exerciseClosed,
		"run round trip":              exerciseRoundTrip,
		"single tasks":                exerciseTask,
		"run beginnings":              exerciseBeginnings,
		"idempotency":                 exerciseIdempotency,
		"idempotency race":            exerciseIdempotencyRace,
		"every pair of run states":    exerciseRunPairs,
		"every pair of task states":   exerciseTaskPairs,
		"change of everything":        exerciseWholeChange,
		"plan of a draft":             exercisePlan,
		"audit sources":               exerciseSources,
		"change is all or nothing":    exerciseAtomic,
		"fence":                       exerciseFence,
		"end of a run":                exerciseEnd,
		"new attempts":                exerciseAttempts,
		"service lock":                exerciseServiceLock,
		"service lock race":           exerciseServiceLockRace,
		"one active task":             exerciseActive,
		"one active task race":        exerciseActiveRace,
		"envelope and detail":         exerciseDetail,
		"progress":                    exerciseProgress,
		"reported":                    exerciseReported,
		"control":                     exerciseControl,
		"going on":                    exerciseGoing,
		"decisions":                   exerciseDecisions,
		"decision race":               exerciseDecisionRace,
		"resume race":                 exerciseResumeRace,
		"turns that were not seen":    exerciseSeen,
		"runs made from others":       exerciseChildren,
		"claim, renew, release":       exerciseClaim,
		"interrupted runs":            exerciseInterrupted,
		"claim of paused runs":        exerciseClaimPaused,
		"claims by many":              exerciseClaimRace,
		"list, filters, pages":        exerciseList,
		"run of 10,000 hosts":         exerciseLarge,
		"odd text":                    exerciseText,
		"output":                      exerciseOutput,
		"output bounded":              exerciseOutputBounds,
		"tokens":                      exerciseTokens,
		"sessions":                    exerciseSessions,
		"keys":                        exerciseKeys,
		"key race":                    exerciseKeyRace,
		"users":                       exerciseUsers,
		"last admin":                  exerciseLastAdmin,
		"logins":                      exerciseLogins,
		"many logins":                 exerciseManyLogins,
		"scenarios":                   exerciseScenarios,
		"certificates":                exerciseCertificates,
		"second migration":            exerciseSecondMigration,
		"join tokens":                 exerciseJoinTokens,
		"joins":                       exerciseJoins,
		"join race":                   exerciseJoinRace,
		"repeated join":               exerciseRepeatedJoin,
		"revocations":                 exerciseRevocations,
		"renewals":                    exerciseRenewals,
		"runs made on hosts":          exerciseImport,
		"a host that floods":          exerciseImportFlood,
		"chains of hosts":             exerciseLocalHead,
		"audit sequence":              exerciseSequence,
		"audit sequence race":         exerciseSequenceRace,
		"audit seal":                  exerciseSeal,
		"audit expiry":                exerciseRecordsExpire,
		"audit cursors":               exerciseCursors,
		"audit reach":                 exerciseReach,
		"hosts in hand":               exerciseHostsInHand,
		"audit search":                exerciseSearch,
		"audit follow":                exerciseFollow,
		"audit entries":               exerciseEntries,
		"records of before 0014":      exerciseBefore0014,
		"cancelled context":           exerciseCancelled,
		"one statement":               exerciseOneStatement,
		"writes that share a commit":  exerciseGroup,
		"old drafts are dropped":      exerciseOldDrafts,
		"random changes like a model": exerciseModel,
		"tables that migrations name": exerciseTables,
		"backup and restore":          exerciseBackup,
		"backup beside writers":       exerciseBackupBeside,
		"backup of an older schema":   exerciseOldBackup,
		"restore fences":              exerciseFencing,
		"restore keeps wishes":        exerciseRestoredWishes,
		"restore of a damaged backup": exerciseDamagedBackup,
		"restore needs it empty":      exerciseNotEmpty,
		"freezes":                     exerciseFreezes,
		"lock scope":                  exerciseLockScope,
		"schedules":                   exerciseSchedules,
		"schedule race":               exerciseScheduleRace,
		"schedule time":               exerciseScheduleTime,
		"a draft is once":             exerciseDraftIsOnce,
		"plan or start":               exercisePlanOrStart,
		"plan or drop":                exercisePlanOrDrop,
		"most schedules":              exerciseMostSchedules,
		"draft race":                  exerciseDraftRace,
		"restored schedules":          exerciseRestoredSchedules,
		"calendar tokens":             exerciseCalendarTokens,
		"outside locks":               exerciseOutsideLocks,
		"lock scope race":             exerciseLockScopeRace,
		"broken glass":                exerciseGlass,
		"siblings":                    exerciseSiblings,
		"scenario versions":           exerciseVersions,
		"scenario version race":       exerciseVersionRace,
		"approvals":                   exerciseApprovals,
		"approvals of whose plan":     exerciseQuestions,
		"approvals that expire":       exerciseExpiry,
		"approval race":               exerciseApprovalRace,
		"approvals at random":         exerciseRandomApprovals,
		"restored approvals":          exerciseRestoredApprovals,
		"messages":                    exerciseMessages,
		"silences":                    exerciseSilences,
		"stuck silences":              exerciseStuckSilences,
		"messages in order":           exerciseMessageOrder,
		"digests":                     exerciseDigests,
		"addresses":                   exerciseAddresses,
		"same request":                exerciseSameRequest,
		"fifth migration":             exerciseFifthMigration,
		"random filters":              exerciseFilters,
		"statistics":                  exerciseFigures,
		"history of before":           exerciseHistoryMigration,
		"restarts that recur":         exerciseRecurrences,
		"chat links":                  exerciseChatLinks,
		"chat buttons":                exerciseChatButtons,
		"chat turns":                  exerciseChatTurns,
		"dumps":                       exerciseDumps,
		"dumps that are dropped":      exerciseDumpRetention,
		"what dumps take":             exerciseDumpWeights,
		"dumps dropped at once":       exerciseDumpDropping,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newDSN)
		})
	}
}

var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

const scenarioBody = "format: 1\nname: nginx-restart\n"

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func newID() string { return restart.NewID(time.Now()) }

// newRun makes a queued run of nginx in production over hosts web0, web1, ….
func newRun(hosts int) restart.Run {
	run := restart.Run{
		ID: newID(), Scenario: "nginx-restart", Digest: digestOf(scenarioBody), Kind: restart.KindRestart, Service: "nginx", Environment: "production",
		Actor: "anna", Via: "cli", Reason: "502s since the deploy of 14:00", State: restart.RunQueued, CreatedAt: epochStart, Version: 1, Tasks: []restart.Task{},
	}
	for i := range hosts {
		run.Tasks = append(run.Tasks, restart.Task{
			ID: newID(), RunID: run.ID, Host: fmt.Sprintf("web%d.example.com", i), Position: i, Batch: i, Attempt: 1, State: restart.TaskPlanned, Version: 1,
		})
	}
	return run
}

func mustCreate(t testing.TB, s *store.Store, run restart.Run) restart.Run {
	t.Helper()
	existing, err := s.CreateRun(t.Context(), run, "", nil, nil)
	if err != nil || existing != nil {
		t.Fatalf("create run: existing %v, error %v", existing, err)
	}
	return run
}

func mustApply(t testing.TB, s *store.Store, c store.Change) int64 {
	t.Helper()
	version, err := s.Apply(t.Context(), c)
	if err != nil {
		t.Fatalf("apply %+v: %v", c, err)
	}
	return version
}

func mustRun(t testing.TB, s *store.Store, id string) restart.Run {
	t.Helper()
	run, err := s.Run(t.Context(), id)
	if err != nil {
		t.Fatalf("read run %s: %v", id, err)
	}
	return run
}

// wantCode fails the test unless err carries the code.
func wantCode(t testing.TB, err error, code restart.Code) {
	t.Helper()
	if got := restart.CodeOf(err); got != code {
		t.Fatalf("error %v has code %q, want %q", err, got, code)
	}
}

// toRun and toTask give the states that lead to a state from its beginning.
func toRun(state restart.RunState) []restart.RunState {
	return map[restart.RunState][]restart.RunState{
		restart.RunDraft:            {restart.RunDraft},
		restart.RunAwaitingApproval: {restart.RunDraft, restart.RunAwaitingApproval},
		restart.RunRejected:         {restart.RunDraft, restart.RunAwaitingApproval, restart.RunRejected},
		restart.RunQueued:           {restart.RunQueued},
		restart.RunRunning:          {restart.RunQueued, restart.RunRunning},
		restart.RunPaused:           {restart.RunQueued, restart.RunPaused},
		restart.RunCompleted:        {restart.RunQueued, restart.RunRunning, restart.RunCompleted},
		restart.RunFailed:           {restart.RunQueued, restart.RunRunning, restart.RunFailed},
		restart.RunAborted:          {restart.RunQueued, restart.RunAborted},
	}[state]
}

func toTask(state restart.TaskState) []restart.TaskState {
	intent, dispatching, accepted, running := restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskAccepted, restart.TaskRunning
	switch state {
	case restart.TaskPlanned:
		return nil
	case restart.TaskNotStarted:
		return []restart.TaskState{state}
	case intent, dispatching, accepted, running:
		all := []restart.TaskState{intent, dispatching, accepted, running}
		for i, s := range all {
			if s == state {
				return all[:i+1]
			}
		}
	case restart.TaskRefused, restart.TaskUnreachable, restart.TaskUnknown:
		return []restart.TaskState{intent, dispatching, state}
	}
	return []restart.TaskState{intent, dispatching, accepted, running, state}
}
