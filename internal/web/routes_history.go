package web

// historyRoutes are of what has been done, and of those to whom and by whom.
func (s *site) historyRoutes() []route {
	return []route{
		{pattern: "GET /runs.csv", policy: signedIn, handle: s.exportCSV},
		{pattern: "GET /runs.json", policy: signedIn, handle: s.exportJSON},
		{pattern: "GET /services", policy: signedIn, handle: s.listServices},
		{pattern: "GET /services/{name}", policy: signedIn, handle: s.showService},
		{pattern: "GET /hosts", policy: signedIn, handle: s.listHosts},
		{pattern: "GET /hosts/{name}", policy: signedIn, handle: s.showMachine},
		{pattern: "GET /people/{name}", policy: signedIn, handle: s.showPerson},
		{pattern: "GET /statistics", policy: signedIn, handle: s.showStatistics},
		{pattern: "GET /statistics/reasons", policy: signedIn, handle: s.showReasons},
		{pattern: "GET /statistics/reason", policy: signedIn, handle: s.showReason},
		{pattern: "GET /statistics/hosts", policy: signedIn, handle: s.showSlowest},
	}
}
