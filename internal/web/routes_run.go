package web

// runRoutes are of runs, of freezes, and of broken glass.
func (s *site) runRoutes() []route {
	return []route{
		{pattern: "GET /runs", policy: signedIn, handle: s.listRuns},
		{pattern: "GET /runs/{id}", policy: signedIn, handle: s.showRun},
		{pattern: "GET /runs/{id}/events", policy: signedIn, stream: true, handle: s.streamRun},
		{pattern: "GET /runs/{id}/hosts/{host}", policy: signedIn, handle: s.showHost},
		{pattern: "GET /runs/{id}/tasks/{task}/rows", policy: signedIn, handle: s.showOutput},
		{pattern: "GET /runs/{id}/replay.html", policy: signedIn, handle: s.showReplay},
		{pattern: "GET /runs/{id}/chart", policy: signedIn, handle: s.showChart},
		{pattern: "GET /runs/{id}/break-glass", policy: signedIn, handle: s.glassForm},
		{pattern: "POST /runs/{id}/break-glass", policy: signedIn, handle: s.breakGlass},
		{pattern: "GET /freezes", policy: signedIn, handle: s.listFreezes},
		{pattern: "GET /locks", policy: signedIn, handle: s.listLocks},
		{pattern: "GET /break-glass", policy: signedIn, handle: s.listGlass},
		{pattern: "POST /break-glass/{id}/review", policy: signedIn, handle: s.reviewGlass},
	}
}
