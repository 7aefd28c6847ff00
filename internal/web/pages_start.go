package web

// The names of the files in templates/pages of which this file has the structs.
const (
	pageHome    = "home"
	pageStart   = "start"
	pagePlan    = "plan"
	pageConfirm = "confirm"
)

type (
	homePage struct {
		layout
		Approvals []awaitingLine // that the reader may decide
		Mine      []runLine      // of the reader's, and waiting for a person
		Others    []runLine      // own runs that another person has to approve
		Now       []runLine
		More      bool // more runs go on than are listed
		Planned   []plannedEntry
		Chooser   chooserView
		Poll      string // address to ask again
		News      bool   // what waits is not what the reader has before him
	}
	// chooserView finds a service.
	chooserView struct {
		Query   string
		Keep    []param // what the form was called with, and keeps
		Sent    filled  // with what is wrong with the service that was named
		Offers  offersView
		Trouble *troubleView
		Near    []nearLine // of an unknown name
		Focus   bool
	}
	nearLine struct{ Name, URL string }
	// offersView is what was found, also by itself.
	offersView struct {
		Asked  bool // something was typed
		Offers []offerLine
		More   int // that are not listed
	}
	offerLine struct {
		Name, Description, URL string
		Mine                   bool
		Used                   *moment
	}
	// troubleView is something that is wrong with the whole, in words.
	troubleView struct {
		Message sentence
		Hint    []sentence
		Shell   []string // commands of it
		Mild    bool     // it can be gone on with
	}
	startPage struct {
		layout
		Chooser *chooserView // nil = a service is chosen
		Form    *startForm
		Trouble *troubleView
	}
	startForm struct {
		Sent                             filled // of which only what is wrong: the rest is below
		Key, Service, Description, Other string // Other = address to choose another service
		Mine                             bool
		Places                           []placeLine
		Groups                           []groupLine
		Several                          bool // an environment has several groups
		Group                            string
		Hosts, Except                    string
		More                             bool // something is said under More
		Recipes                          []recipeLine
		Reason, Ticket                   string
		Reasons                          []string
		Rehearse                         bool
	}
	// placeLine is an environment of the service.
	placeLine struct {
		Name, Value, Text string
		Checked           bool
		Second            bool // a second step follows
		Notes             []noteLine
	}
	noteLine struct {
		Tone  tone
		Text  string
		Words sentence // the same, as it is shown
		Hint  []string
	}
	groupLine struct {
		Name, Environment, Text string
		Selected                bool
	}
	recipeLine struct {
		Name, Kind, Description string
		Serial                  int
		Checked                 bool
		Notes                   []noteLine
		Params                  []paramField
	}
	// paramField is the field of one parameter.
	paramField struct {
		Field, Name, Description string
		Kind                     string // select | check | number | text
		Value, Pattern, Help     string
		Values                   []choice
		Checked, Required        bool
		Min, Max                 string
		MaxLength                int
	}
	planPage struct {
		layout
		ID, Service, Environment, Heading string
		Tone                              tone
		State, Reason, By, Only           string
		Created, Looked                   moment
		Mine, Start, Second               bool
		Later                             bool // it can be planned for a time to come
		Version                           int64
		Own                               string // address of a form with the same request
		Changed                           *changedView
		Frozen                            *frozenNotice
		Lifts                             string // who can lift the freeze
		MayBreak                          bool
		Refused                           *troubleView // what was pressed
		Denied                            *troubleView
		NoTicket                          *troubleView // it is not for a ticket as the rules want it
		Warnings                          []sentence
		Approval                          *sentence // it waits for one before it starts
		Rule                              string    // that asks for it
		Hosts                             []plannedLine
		Short, Beside                     int // hosts that are listed in short, beyond the first Looking; hosts of the group that are counted only
		Looking                           int
		Centres                           []string // data centres, where there are several
		Centre                            string   // the one that is shown alone; "" = all
		Refusing                          bool     // only hosts that would refuse are shown
		Numbers                           []numberLine
		Button                            string
		Forms                             string // of the button's text, by plural
		Sent                              filled // with what is wrong with the hosts that are ticked
		Steps                             *stepsView
		StepHosts                         []choice
		Checked                           *moment // when the hosts were asked again; nil = they were not
		Check                             string  // address to ask them again
	}
	// changedView says how this plan differs from the one before it.
	changedView struct {
		Differences []string
		More        int
	}
	plannedLine struct {
		Position               int
		Host, Label, Domain    string
		DataCentre             string
		Tags                   []string
		Ticked, Short, Refuses bool
		Hidden                 bool // narrowed away; its tick counts still
		Batch                  int  // 0 = in none
		Agent                  agentView
		Version                string
		HealthTone             tone
		Health, Why            string
		Last                   *lastView
		LastTone               tone
		LastState, LastBy, Run string
	}
	// agentView is what a host's agent says, also by itself.
	agentView struct {
		Live     bool // it takes the place of what is there
		Position int
		Tone     tone
		State    string
		Message  string
		Hint     []string
		Notes    []string
	}
	lastView   struct{ At moment }
	numberLine struct {
		Name   string
		Values []string
		At     *moment // beside Values
		Code   bool    // Values are for programs
		Quiet  string  // where the number comes from
		URL    string  // of the first value
	}
	confirmPage struct {
		layout
		ID, Service, Environment, Heading string
		Reason                            string
		Hosts                             []string // that would be touched, by name
		Ticked                            []string // the same, where not all are
		Only                              string   // their places in the plan
		More, LeftOut                     int
		Numbers                           []numberLine
		Warnings                          []sentence
		Approval                          *sentence // it waits for one before it starts
		Rule                              string    // that asks for it
		Version                           int64
		Button                            string
		Sent                              filled
	}
	// checksPage is the answers of a plan's agents, as parts of its page.
	checksPage struct {
		ID     string
		At     moment
		Agents []agentView
	}
)
