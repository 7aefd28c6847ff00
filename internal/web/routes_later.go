package web

// laterRoutes are of what is planned for a time to come, and of its calendar.
func (s *site) laterRoutes() []route {
	return []route{
		{pattern: "GET /planned", policy: signedIn, handle: s.listPlanned},
		{pattern: "GET /planned/{id}", policy: signedIn, handle: s.showPlanned},
		{pattern: "POST /planned/{id}/cancel", policy: signedIn, handle: s.cancelPlanned},
		{pattern: "POST /planned/{id}/approve", policy: signedIn, handle: s.decidePlanned(s.cfg.Control.ApproveLater)},
		{pattern: "POST /planned/{id}/reject", policy: signedIn, handle: s.decidePlanned(s.cfg.Control.RejectLater)},
		{pattern: "GET /runs/{id}/later", policy: signedIn, handle: s.laterForm},
		{pattern: "POST /runs/{id}/later", policy: signedIn, handle: s.planLater},
		{pattern: "POST /profile/calendar", policy: signedIn, handle: s.makeCalendar},
		{pattern: "POST /profile/end-calendar", policy: signedIn, handle: s.endCalendar},
	}
}
