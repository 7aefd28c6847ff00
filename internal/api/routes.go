package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// routes is the one table of all that this server answers below /api/ and
// beside it, with the policy of each.
func (a *api) routes() []route {
	const v1 = "/api/v1"
	table := []route{
		{id: "ping", method: "GET", path: "/ping", policy: anybody, summary: "The process is alive", mount: a.plain(a.ping), media: "text/plain"},
		{id: "ready", method: "GET", path: "/readyz", policy: anybody, summary: "The server can work", mount: a.plain(a.readyz), media: "text/plain"},
		{id: "describe", method: "GET", path: "/api/openapi.json", policy: signedIn, summary: "This description", mount: a.plain(a.openAPI()), media: "application/openapi+json"},
		{id: "describe30", method: "GET", path: "/api/openapi-3.0.json", policy: signedIn, summary: "This description in OpenAPI 3.0, for generators of clients", mount: a.plain(a.openAPI30()), media: "application/openapi+json"},

		{id: "whoami", method: "GET", path: v1 + "/whoami", policy: signedIn, summary: "Who the token belongs to", mount: answer(a, a.whoami)},
		{id: "getInventory", method: "GET", path: v1 + "/inventory", policy: signedIn, summary: "How old the inventory and each of its sources is, and what is wrong with it", mount: answer(a, a.getInventory)},
		{id: "listServices", method: "GET", path: v1 + "/services", policy: signedIn, summary: "Services of the inventory", mount: answer(a, a.listServices)},
		{id: "getService", method: "GET", path: v1 + "/services/{name}", policy: signedIn, summary: "One service", mount: answer(a, a.getService)},
		{id: "listGroups", method: "GET", path: v1 + "/groups", policy: signedIn, summary: "Groups of the inventory", mount: answer(a, a.listGroups)},
		{id: "listHosts", method: "GET", path: v1 + "/hosts", policy: signedIn, summary: "Hosts of an expression", mount: answer(a, a.listHosts)},
		{id: "checkHosts", method: "POST", path: v1 + "/hosts/check", policy: signedIn, summary: "Ask hosts what they say of themselves", mount: answer(a, a.checkHosts)},
		{id: "discoverHosts", method: "POST", path: v1 + "/hosts/discover", policy: signedIn, summary: "Ask hosts which services they see; for admins", mount: answer(a, a.discoverHosts)},
		{id: "listScenarios", method: "GET", path: v1 + "/scenarios", policy: signedIn, summary: "The version of each scenario that is in force", mount: answer(a, a.listScenarios)},
		{id: "getScenario", method: "GET", path: v1 + "/scenarios/{digest}", policy: signedIn, summary: "One version of a scenario, with its bytes", mount: answer(a, a.getScenario)},
		{id: "listScenarioVersions", method: "GET", path: v1 + "/scenario-versions", policy: signedIn, summary: "All versions of scenarios, with their reviews", mount: answer(a, a.listVersions)},
		{id: "proposeScenarioVersion", method: "POST", path: v1 + "/scenario-versions", policy: signedIn, summary: "Push a version, to be reviewed; for developers and reviewers", mount: answer(a, a.proposeVersion), status: http.StatusCreated, most: maxProposal, refusals: audit.ScenarioProposed},
		{id: "reviewScenarioVersion", method: "GET", path: v1 + "/scenario-versions/{digest}", policy: signedIn, summary: "One version as a reviewer needs it: bytes, signatures, the version in force, an example host", mount: answer(a, a.reviewVersion)},
		{id: "signScenarioVersion", method: "POST", path: v1 + "/scenario-versions/{digest}/signatures", policy: signedIn, summary: "Lay one's own signature beside a version", mount: answer(a, a.signVersion), status: http.StatusCreated, refusals: audit.ScenarioSigned},
		{id: "withdrawScenarioVersion", method: "POST", path: v1 + "/scenario-versions/{digest}/withdraw", policy: signedIn, summary: "End a version for ever; for reviewers and admins", mount: answer(a, a.withdrawVersion), refusals: audit.ScenarioWithdrawn},
		{id: "scenarioCoverage", method: "GET", path: v1 + "/scenario-coverage", policy: signedIn, summary: "How the scenarios in force would stand without a key", mount: answer(a, a.coverage)},
		{id: "listScenarioProblems", method: "GET", path: v1 + "/scenario-problems", policy: signedIn, summary: "Files of the folder of scenarios that are not used, and why", mount: answer(a, a.listScenarioProblems)},
		{id: "listLocks", method: "GET", path: v1 + "/locks", policy: signedIn, summary: "Which run holds which service", mount: answer(a, a.listLocks)},
		{id: "releaseLock", method: "DELETE", path: v1 + "/locks/{run}", policy: signedIn, summary: "Take the hold of its service from a paused run; for admins", mount: answer(a, a.releaseLock)},

		{id: "plan", method: "POST", path: v1 + "/plans", policy: signedIn, summary: "What a request would do; nothing is stored", mount: answer(a, a.plan)},
		{id: "listRuns", method: "GET", path: v1 + "/runs", policy: signedIn, summary: "Runs, the newest first", mount: answer(a, a.listRuns)},
		{id: "createRun", method: "POST", path: v1 + "/runs", policy: signedIn, summary: "Ask for a run: a draft, or started at once", mount: answer(a, a.createRun), status: http.StatusCreated},
		{id: "getRun", method: "GET", path: v1 + "/runs/{id}", policy: signedIn, summary: "One run with its plan and tasks", mount: answer(a, a.getRun)},
		{id: "startRun", method: "POST", path: v1 + "/runs/{id}/start", policy: signedIn, summary: "Confirm a draft", mount: answer(a, a.startRun)},
		{id: "pauseRun", method: "POST", path: v1 + "/runs/{id}/pause", policy: signedIn, summary: "Stop before the next host", mount: answer(a, a.verb(a.cfg.Control.Pause))},
		{id: "resumeRun", method: "POST", path: v1 + "/runs/{id}/resume", policy: signedIn, summary: "Go on", mount: answer(a, a.verb(a.cfg.Control.Resume))},
		{id: "abortRun", method: "POST", path: v1 + "/runs/{id}/abort", policy: signedIn, summary: "End; the host in hand finishes", mount: answer(a, a.verb(a.cfg.Control.Abort))},
		{id: "forceAbortRun", method: "POST", path: v1 + "/runs/{id}/force-abort", policy: signedIn, summary: "End; the host in hand is killed, and unknown", mount: answer(a, a.verb(a.cfg.Control.ForceAbort))},
		{id: "approveRun", method: "POST", path: v1 + "/runs/{id}/approve", policy: signedIn, summary: "Let a run start that waits for an approval; for another person than who asked", mount: answer(a, a.decideRun(a.cfg.Control.Approve))},
		{id: "rejectRun", method: "POST", path: v1 + "/runs/{id}/reject", policy: signedIn, summary: "End a run that waits for an approval; for another person than who asked", mount: answer(a, a.decideRun(a.cfg.Control.Reject))},
		{id: "getSteps", method: "GET", path: v1 + "/runs/{id}/steps", policy: signedIn, summary: "The scripts of a run as they are on one of its hosts", mount: answer(a, a.getSteps)},
		{id: "decideTask", method: "POST", path: v1 + "/runs/{id}/decide", policy: signedIn, summary: "Say what became of an unknown host", mount: answer(a, a.decideTask)},
		{id: "retryRun", method: "POST", path: v1 + "/runs/{id}/retry", policy: signedIn, summary: "A new run over what this one has left undone: a draft, or started at once", mount: answer(a, a.retryRun), status: http.StatusCreated},
		{id: "undrainRun", method: "POST", path: v1 + "/runs/{id}/undrain", policy: signedIn, summary: "A new run that puts back the hosts left drained: a draft, or started at once", mount: answer(a, a.undrainRun), status: http.StatusCreated},
		{id: "followRun", method: "GET", path: v1 + "/runs/{id}/events", policy: signedIn, summary: "The run as it changes, as server-sent events", mount: streamed(a, a.events), media: "text/event-stream", stream: true},
		{id: "getTask", method: "GET", path: v1 + "/runs/{id}/tasks/{task}", policy: signedIn, summary: "One host of a run: phases, health, evidence", mount: answer(a, a.getTask)},
		{id: "getOutput", method: "GET", path: v1 + "/runs/{id}/tasks/{task}/output", policy: signedIn, summary: "Output of a task from an offset", mount: answer(a, a.getOutput)},
		{id: "downloadOutput", method: "GET", path: v1 + "/runs/{id}/tasks/{task}/output.txt", policy: signedIn, summary: "Output of a task as a file", mount: streamed(a, a.downloadOutput), media: "text/plain", stream: true},
		{id: "getRunDumps", method: "GET", path: v1 + "/runs/{id}/dumps", policy: signedIn, summary: "What the thread dumps of a run say, over all its hosts", mount: answer(a, a.getRunDumps)},
		{id: "listDumps", method: "GET", path: v1 + "/dumps", policy: signedIn, summary: "Thread dumps that one may look at, the newest first", mount: answer(a, a.listDumps)},
		{id: "uploadDump", method: "POST", path: v1 + "/dumps", policy: signedIn, summary: "Put a file with thread dumps into the viewer, as one's own; the body is the file, ?name= its name", mount: a.filed(a.uploadDump), status: http.StatusCreated},
		{id: "getDump", method: "GET", path: v1 + "/dumps/{id}", policy: signedIn, summary: "One thread dump: where it comes from, its verdict, the evidence beside it", mount: answer(a, a.getDump)},
		{id: "deleteDump", method: "DELETE", path: v1 + "/dumps/{id}", policy: signedIn, summary: "Delete a thread dump before its time; for admins, and for whoever put the file in", mount: done(a, a.deleteDump)},
		{id: "getDumpReport", method: "GET", path: v1 + "/dumps/{id}/report", policy: signedIn, summary: "All that is found in a thread dump, or in its series", mount: answer(a, a.getDumpReport)},
		{id: "listDumpThreads", method: "GET", path: v1 + "/dumps/{id}/threads", policy: signedIn, summary: "Threads of a dump, with their stacks", mount: answer(a, a.listDumpThreads)},
		{id: "downloadDump", method: "GET", path: v1 + "/dumps/{id}/raw", policy: signedIn, summary: "A thread dump as it was captured, as a file", mount: streamed(a, a.rawDump), media: "text/plain", stream: true},
		{id: "downloadDumpCollapsed", method: "GET", path: v1 + "/dumps/{id}/collapsed", policy: signedIn, summary: "The stacks of a thread dump, folded, as a file", mount: streamed(a, a.foldedDump), media: "text/plain", stream: true},
		{id: "downloadDumpSpeedscope", method: "GET", path: v1 + "/dumps/{id}/speedscope", policy: signedIn, summary: "A thread dump as a file for speedscope.app", mount: streamed(a, a.speedscopeDump), media: "application/json", stream: true},
		{id: "compareDumps", method: "GET", path: v1 + "/dumps/{id}/compare/{other}", policy: signedIn, summary: "What changed from one thread dump to another", mount: answer(a, a.compareDumps)},
		{id: "planLater", method: "POST", path: v1 + "/runs/{id}/later", policy: signedIn, summary: "Confirm a draft for a time to come, or for the next maintenance window", mount: answer(a, a.planLater), status: http.StatusCreated},
		{id: "listPlanned", method: "GET", path: v1 + "/planned", policy: signedIn, summary: "Runs that are planned for a time to come, by that time", mount: answer(a, a.listPlanned)},
		{id: "getPlanned", method: "GET", path: v1 + "/planned/{id}", policy: signedIn, summary: "One planned run, with the plan as it was shown", mount: answer(a, a.getPlanned)},
		{id: "cancelPlanned", method: "POST", path: v1 + "/planned/{id}/cancel", policy: signedIn, summary: "Cancel a planned run; for who planned it, and who may stop runs of its service", mount: answer(a, a.cancelPlanned)},
		{id: "approvePlanned", method: "POST", path: v1 + "/planned/{id}/approve", policy: signedIn, summary: "Let a planned run start at its time; for another person than who asked", mount: answer(a, a.decidePlanned(a.cfg.Control.ApproveLater))},
		{id: "rejectPlanned", method: "POST", path: v1 + "/planned/{id}/reject", policy: signedIn, summary: "End a planned run that waits for an approval; for another person than who asked", mount: answer(a, a.decidePlanned(a.cfg.Control.RejectLater))},
		{id: "downloadPlanned", method: "GET", path: v1 + "/planned.ics", policy: signedIn, summary: "What is planned, as a calendar's file", mount: streamed(a, a.plannedCalendar), media: "text/calendar", stream: true},
		{id: "listWindows", method: "GET", path: v1 + "/windows", policy: signedIn, summary: "Maintenance windows that runs can be planned for", mount: answer(a, a.listWindows)},
		{id: "getCalendar", method: "GET", path: v1 + "/calendar", policy: signedIn, summary: "Whether one has an address of a calendar", mount: answer(a, a.getCalendar)},
		{id: "makeCalendar", method: "POST", path: v1 + "/calendar", policy: signedIn, summary: "Make the address of one's calendar, shown once; the one before ends", mount: answer(a, a.makeCalendar), status: http.StatusCreated},
		{id: "endCalendar", method: "DELETE", path: v1 + "/calendar", policy: signedIn, summary: "End the address of one's calendar at once", mount: done(a, a.endCalendar)},
		{id: "subscribe", method: "GET", path: "/calendar.ics", policy: subscribed, summary: "What is planned, for calendar programs: ?token= is of the address that makeCalendar gives", mount: streamed(a, a.subscribedCalendar), media: "text/calendar"},
		{id: "listApprovals", method: "GET", path: v1 + "/approvals", policy: signedIn, summary: "Runs that wait for an approval, planned ones too; those that one may decide about first", mount: answer(a, a.listApprovals)},
		{id: "listFreezes", method: "GET", path: v1 + "/freezes", policy: signedIn, summary: "Freezes: which apply now, when the others begin", mount: answer(a, a.listFreezes)},
		{id: "addFreeze", method: "POST", path: v1 + "/freezes", policy: signedIn, summary: "Freeze environments; for admins", mount: answer(a, a.addFreeze), status: http.StatusCreated},
		{id: "removeFreeze", method: "DELETE", path: v1 + "/freezes/{id}", policy: signedIn, summary: "Lift a freeze at once; for admins", mount: done(a, a.removeFreeze)},
		{id: "listBrokenGlass", method: "GET", path: v1 + "/break-glass", policy: signedIn, summary: "Runs that broke the glass and that nobody has reviewed", mount: answer(a, a.listBrokenGlass)},
		{id: "reviewBrokenGlass", method: "POST", path: v1 + "/break-glass/{run}/review", policy: signedIn, summary: "Note what a review has found; for auditors and admins", mount: answer(a, a.reviewBrokenGlass)},

		{id: "listReceivers", method: "GET", path: v1 + "/receivers", policy: signedIn, summary: "Receivers of messages, and what they have not taken yet; for admins", mount: answer(a, a.listReceivers)},
		{id: "testReceiver", method: "POST", path: v1 + "/receivers/{name}/test", policy: signedIn, summary: "Send a receiver a message now, and tell what it says; for admins", mount: answer(a, a.testReceiver)},

		{id: "listTokens", method: "GET", path: v1 + "/tokens", policy: signedIn, summary: "One's tokens; an admin's list has everybody's", mount: answer(a, a.listTokens)},
		{id: "createToken", method: "POST", path: v1 + "/tokens", policy: signedIn, summary: "Make a token; its secret is shown once", mount: answer(a, a.createToken), status: http.StatusCreated},
		{id: "revokeToken", method: "DELETE", path: v1 + "/tokens/{id}", policy: signedIn, summary: "End a token at once", mount: done(a, a.revokeToken)},
		{id: "listSessions", method: "GET", path: v1 + "/sessions", policy: signedIn, summary: "One's sessions in browsers; everybody's with all=true, for admins", mount: answer(a, a.listSessions)},
		{id: "revokeSession", method: "DELETE", path: v1 + "/sessions/{id}", policy: signedIn, summary: "End a session at once", mount: done(a, a.revokeSession)},
		{id: "revokeSessions", method: "DELETE", path: v1 + "/users/{name}/sessions", policy: signedIn, summary: "End all sessions of somebody at once, but the one that asks; for admins", mount: done(a, a.revokeSessions)},
		{id: "listKeys", method: "GET", path: v1 + "/keys", policy: signedIn, summary: "One's SSH keys; everybody's with all=true, for admins", mount: answer(a, a.listKeys)},
		{id: "addKey", method: "POST", path: v1 + "/keys", policy: signedIn, summary: "Put an SSH key into one's own profile", mount: answer(a, a.addKey), status: http.StatusCreated},
		{id: "removeKey", method: "DELETE", path: v1 + "/keys/{id}", policy: signedIn, summary: "Take an SSH key out of a profile, at once", mount: done(a, a.removeKey)},
		{id: "listUsers", method: "GET", path: v1 + "/users", policy: signedIn, summary: "People who may sign in; for admins", mount: answer(a, a.listUsers)},
		{id: "createUser", method: "POST", path: v1 + "/users", policy: signedIn, summary: "Make a local user; for admins", mount: answer(a, a.createUser), status: http.StatusCreated},
		{id: "changeUser", method: "PATCH", path: v1 + "/users/{name}", policy: signedIn, summary: "Change roles or method, disable or enable; for admins", mount: answer(a, a.changeUser)},
		{id: "setPassword", method: "POST", path: v1 + "/users/{name}/password", policy: signedIn, summary: "Set a local user's password: one's own with the old one, that of others for admins", mount: answer(a, a.setPassword)},
		{id: "beginLogin", method: "POST", path: v1 + "/logins", policy: anybody, summary: "Ask that a command line be signed in by a page", mount: answer(a, a.beginLogin), status: http.StatusCreated},
		{id: "claimLogin", method: "POST", path: v1 + "/logins/claim", policy: anybody, summary: "Ask what came of it: whoever has the secret gets the token, once", mount: answer(a, a.claimLogin)},
		{id: "listCertificates", method: "GET", path: v1 + "/certificates", policy: signedIn, summary: "Certificates issued to hosts", mount: answer(a, a.listCertificates)},
		{id: "issueCertificate", method: "POST", path: v1 + "/certificates", policy: signedIn, summary: "Sign a host's certificate request", mount: answer(a, a.issueCertificate), status: http.StatusCreated},
		{id: "revokeCertificates", method: "POST", path: v1 + "/certificates/revoke", policy: signedIn, summary: "End certificates of a host before their time", mount: answer(a, a.revokeCertificates)},
		{id: "listJoinTokens", method: "GET", path: v1 + "/join-tokens", policy: signedIn, summary: "Join tokens, the newest first", mount: answer(a, a.listJoinTokens)},
		{id: "createJoinToken", method: "POST", path: v1 + "/join-tokens", policy: signedIn, summary: "Make a join token; its text is shown once", mount: answer(a, a.createJoinToken), status: http.StatusCreated},
		{id: "revokeJoinToken", method: "DELETE", path: v1 + "/join-tokens/{id}", policy: signedIn, summary: "End a join token at once", mount: done(a, a.revokeJoinToken)},
		{id: "join", method: "POST", path: v1 + "/join", policy: joining, summary: "Enrol the host that asks", mount: answer(a, a.join), status: http.StatusCreated},
		{id: "whoCan", method: "GET", path: v1 + "/rights/whocan", policy: signedIn, summary: "Who can do something to a service, in each of its groups", mount: answer(a, a.whoCan)},
		{id: "why", method: "GET", path: v1 + "/rights/why", policy: signedIn, summary: "Whether somebody may, and why; of others for admins and auditors", mount: answer(a, a.why)},
		{id: "searchAudit", method: "GET", path: v1 + "/audit", policy: signedIn, summary: "Search the audit trail; for auditors and admins", mount: answer(a, a.searchAudit)},
		{id: "exportAudit", method: "GET", path: v1 + "/audit/export", policy: signedIn, summary: "Records of the audit trail as a file; for auditors and admins", mount: streamed(a, a.exportAudit), media: "application/x-ndjson", stream: true},

		{path: "/api/", policy: signedIn, hidden: true, mount: a.plain(a.nothingHere)},
	}
	if a.cfg.Metrics != nil {
		table = append(table, route{id: "metrics", method: "GET", path: "/metrics", policy: signedIn, summary: "Metrics for Prometheus", mount: a.plain(a.cfg.Metrics.ServeHTTP), media: "text/plain"})
	}
	return table
}

// body is how huma wants an answer.
type body[T any] struct{ Body T }

// answer mounts an operation that answers with JSON.
func answer[I, T any](a *api, h func(context.Context, restart.Actor, *I) (T, error)) func(huma.Operation) {
	return func(op huma.Operation) {
		huma.Register(a.huma, op, func(ctx context.Context, in *I) (*body[T], error) {
			t, err := h(ctx, actorOf(ctx), in)
			if err != nil {
				return nil, a.problem(ctx, err)
			}
			return &body[T]{Body: t}, nil
		})
	}
}

// done mounts an operation that has nothing to answer.
func done[I any](a *api, h func(context.Context, restart.Actor, *I) error) func(huma.Operation) {
	return func(op huma.Operation) {
		huma.Register(a.huma, op, func(ctx context.Context, in *I) (*struct{}, error) {
			if err := h(ctx, actorOf(ctx), in); err != nil {
				return nil, a.problem(ctx, err)
			}
			return nil, nil
		})
	}
}

// streamed mounts an operation that writes its answer itself, once h has said
// that there is one.
func streamed[I any](a *api, h func(context.Context, restart.Actor, *I) (http.HandlerFunc, error)) func(huma.Operation) {
	return func(op huma.Operation) {
		huma.Register(a.huma, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			write, err := h(ctx, actorOf(ctx), in)
			if err != nil {
				return nil, a.problem(ctx, err)
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				r, w := humago.Unwrap(hctx)
				write(w, r)
			}}, nil
		})
	}
}

// filed mounts a handler that takes a file as its body, and reads it itself.
func (a *api) filed(h http.HandlerFunc) func(huma.Operation) {
	return func(op huma.Operation) {
		text := &huma.Schema{Type: huma.TypeString}
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
		op.Parameters = []*huma.Param{{Name: "name", In: "query", Description: "of the file", Schema: text}}
		op.Responses["201"] = &huma.Response{Description: "the dump", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: schemaPrefix + "Dump"}}}}
		a.plain(h)(op)
	}
}

// plain mounts a handler that is no operation of huma's.
func (a *api) plain(h http.HandlerFunc) func(huma.Operation) {
	return func(op huma.Operation) {
		if !op.Hidden {
			a.huma.OpenAPI().AddOperation(&op)
		}
		r, _ := op.Metadata["route"].(route)
		a.handle(op.Method, op.Path, r, h)
	}
}
