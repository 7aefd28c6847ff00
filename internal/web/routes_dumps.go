package web

// dumpRoutes are of thread dumps.
func (s *site) dumpRoutes() []route {
	return []route{
		{pattern: "GET /dumps", policy: signedIn, handle: s.listDumps},
		{pattern: "POST /dumps", policy: signedIn, handle: s.uploadDump},
		{pattern: "GET /dumps/{id}", policy: signedIn, handle: s.showDump},
		{pattern: "GET /dumps/{id}/threads", policy: signedIn, handle: s.listThreads},
		{pattern: "GET /dumps/{id}/threads/{number}", policy: signedIn, handle: s.showThread},
		{pattern: "GET /dumps/{id}/locks", policy: signedIn, handle: s.showLocks},
		{pattern: "GET /dumps/{id}/flame", policy: signedIn, handle: s.showFlame},
		{pattern: "GET /dumps/{id}/text", policy: signedIn, handle: s.showDumpText},
		{pattern: "GET /dumps/{id}/compare/{other}", policy: signedIn, handle: s.compareDumps},
		{pattern: "POST /dumps/{id}/delete", policy: signedIn, handle: s.deleteDump},
		{pattern: "GET /runs/{id}/dumps", policy: signedIn, handle: s.showRunDumps},
	}
}
