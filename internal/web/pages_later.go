package web

// The names of the files in templates/pages of which this file has the structs.
const (
	pagePlanned    = "planned"
	pagePlannedOne = "planned-one"
	pageLater      = "later"
)

type (
	plannedPage struct {
		layout
		Open, Over []plannedEntry
		Most       bool   // there may be more that are open
		Poll       string // address to ask again
	}
	// plannedEntry is one planned run of a list.
	plannedEntry struct {
		ID, Service, Environment, By, Reason, Window string
		Tone                                         tone
		State, Why                                   string
		Hosts                                        int
		At                                           moment
		Run                                          string // that it has become; "" = none
	}
	plannedOnePage struct {
		layout
		plannedEntry
		Heading, Only, Zone, Local string // Local = the time by the clock of Zone
		Created, Until             moment
		EndedAt                    *moment
		EndedBy, Who               string
		Approval                   *approvalView
		MayCancel, MayDecide       bool
		Facts                      facts
		Warnings                   []sentence // of the plan
		Lines                      []approvedLine
		More                       int
		Steps                      *stepsView // nil = not shown
		Sent                       filled
	}
	// laterPage asks when.
	laterPage struct {
		layout
		ID, Service, Environment, Heading, Reason string
		Ticked                                    []string // hosts, where not all are
		Only                                      string   // their places in the plan
		Hosts                                     int
		Zone                                      string // that times are meant in unless another is typed
		Zones                                     []string
		Windows                                   []openingChoice
		Second                                    bool // the service's name has to be typed
		Sent                                      filled
	}
	openingChoice struct {
		Name, Text   string
		Begins, Ends string // for a machine
		Open         bool   // it has begun
		Chosen       bool
	}
	// calendarView is the part of the profile that has the address of a calendar.
	calendarView struct {
		URL     string // just made; shown once
		Created *moment
		Used    *moment
	}
)
