package web

// startRoutes are of choosing what to do, of looking at its plan, and of the
// green button.
func (s *site) startRoutes() []route {
	return []route{
		{pattern: "GET /{$}", policy: signedIn, handle: s.home},
		{pattern: "GET /start", policy: signedIn, handle: s.startForm},
		{pattern: "POST /start", policy: signedIn, handle: s.makeDraft},
		{pattern: "GET /services/suggest", policy: signedIn, handle: s.suggest},
		{pattern: "GET /runs/{id}/check", policy: signedIn, handle: s.checkPlan},
		{pattern: "GET /runs/{id}/confirm", policy: signedIn, handle: s.confirmForm},
		{pattern: "POST /runs/{id}/start", policy: signedIn, handle: s.startRun},
	}
}
