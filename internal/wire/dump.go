package wire

import (
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/protocol"
)

// Dump is a thread dump as it is listed. Its file may hold several, one after
// another. Words in Verdict come from the dump: who shows them escapes them.
type Dump struct {
	ID          string                  `json:"id"`
	Run         string                  `json:"run,omitempty"`
	Task        string                  `json:"task,omitempty"`
	Host        string                  `json:"host,omitempty"`
	Service     string                  `json:"service,omitempty"`
	Environment string                  `json:"environment,omitempty"`
	Group       string                  `json:"group,omitempty"`
	Origin      string                  `json:"origin" doc:"run: a thread-dump scenario took it; evidence: a task, before it touched its host; before: asked of all hosts of a run at once, before the first; after: a task, once its host was healthy again; upload: somebody put the file in"`
	Place       int                     `json:"place,omitempty" doc:"in the task, from 1"`
	Number      int                     `json:"number" doc:"in its series, from 1"`
	Of          int                     `json:"of" doc:"how many the series was to have"`
	Runtime     dump.Runtime            `json:"runtime,omitempty"`
	Method      string                  `json:"method,omitempty" doc:"how it was taken: attach, signal, pprof, py-spy, proc"`
	PID         int                     `json:"pid,omitempty"`
	TakenAt     time.Time               `json:"taken_at"`
	TookMS      float64                 `json:"took_ms" doc:"how long the taking took"`
	Size        int64                   `json:"size" doc:"bytes of its text"`
	Stored      int64                   `json:"stored" doc:"bytes as they are kept; 0: there is no dump, error says why"`
	Notes       []string                `json:"notes,omitempty" doc:"of whoever took it: what was done instead of what"`
	Verdict     *analyse.Finding        `json:"verdict,omitempty" doc:"the gravest finding of this dump alone"`
	Says        string                  `json:"says,omitempty" doc:"the verdict in one English sentence"`
	Summary     *DumpSummary            `json:"summary,omitempty"`
	Evidence    []protocol.EvidenceItem `json:"evidence,omitempty" doc:"what was kept beside it, such as the journal; not in lists"`
	Name        string                  `json:"name,omitempty" doc:"of the file that somebody put in"`
	Owner       string                  `json:"owner,omitempty" doc:"who put it in; nobody else sees it"`
	Error       string                  `json:"error,omitempty" doc:"why there is no dump, or what is wrong with it"`
	CreatedAt   time.Time               `json:"created_at"`
}

// DumpSummary is what a list shows of a dump.
type DumpSummary struct {
	Dumps    int                `json:"dumps" doc:"in the file"`
	Threads  int                `json:"threads"`
	States   map[dump.State]int `json:"states,omitempty"`
	Alarms   int                `json:"alarms" doc:"findings that are alarms"`
	Warnings int                `json:"warnings"`
	Rest     int                `json:"rest,omitempty" doc:"pieces that were not understood"`
	Program  string             `json:"program,omitempty"`
	Cut      string             `json:"cut,omitempty" doc:"why it is not whole"`
}

// DumpQuery narrows a list of dumps, the newest first; empty fields do not.
type DumpQuery struct {
	Service string `query:"service" maxLength:"100"`
	Host    string `query:"host" maxLength:"253"`
	Run     string `query:"run" maxLength:"100"`
	Mine    bool   `query:"mine" doc:"the files that one has put in oneself, and nothing else"`
	Cursor  string `query:"cursor" doc:"next of the page before"`
	Limit   int    `query:"limit" minimum:"1" maximum:"200" doc:"50 where it is not given"`
}

// Values gives the query as it stands in a URL.
func (q DumpQuery) Values() url.Values {
	v := values{}
	v.set("service", q.Service)
	v.set("host", q.Host)
	v.set("run", q.Run)
	v.set("cursor", q.Cursor)
	v.set("limit", number(int64(q.Limit)))
	if q.Mine {
		v.set("mine", "true")
	}
	return url.Values(v)
}

// ThreadQuery narrows the threads of a dump; empty fields do not.
type ThreadQuery struct {
	Dump   int        `query:"dump" minimum:"0" maximum:"10000" doc:"which dump of the file, from 1; 0: the first"`
	State  dump.State `query:"state" maxLength:"20"`
	Name   string     `query:"name" maxLength:"200" doc:"part of the name, in any case"`
	Frame  string     `query:"frame" maxLength:"500" doc:"part of any frame of the stack, in any case"`
	Cursor string     `query:"cursor" doc:"next of the page before"`
	Limit  int        `query:"limit" minimum:"1" maximum:"1000" doc:"200 where it is not given"`
}

// Values gives the query as it stands in a URL.
func (q ThreadQuery) Values() url.Values {
	v := values{}
	v.set("dump", number(int64(q.Dump)))
	v.set("state", string(q.State))
	v.set("name", q.Name)
	v.set("frame", q.Frame)
	v.set("cursor", q.Cursor)
	v.set("limit", number(int64(q.Limit)))
	return url.Values(v)
}

// RunDumps is what the dumps of a run say together.
type RunDumps struct {
	Run     string               `json:"run"`
	Service string               `json:"service"`
	Origin  string               `json:"origin" doc:"of the dumps in the report, as in a Dump"`
	Origins []string             `json:"origins" nullable:"false" doc:"of which the run has dumps"`
	Says    string               `json:"says" doc:"the verdict over all hosts in one English sentence"`
	Report  *analyse.GroupReport `json:"report"`
	Dumps   []Dump               `json:"dumps" nullable:"false" doc:"of that origin, by host and number"`
	LeftOut []string             `json:"left_out,omitempty" doc:"hosts whose dumps are not in the report: they can't be read, or all together are too many bytes"`
}

// DumpAnalysis is what one dump, or its series, says.
type DumpAnalysis struct {
	Dumps  []string        `json:"dumps" nullable:"false" doc:"ids of the files that were looked at, in order"`
	Says   string          `json:"says" doc:"the verdict in one English sentence"`
	Report *analyse.Report `json:"report"`
}

// DumpComparison is what changed from one dump to another.
type DumpComparison struct {
	Before     Dump                `json:"before"`
	After      Dump                `json:"after"`
	Says       string              `json:"says" doc:"the difference in one English sentence"`
	Difference *analyse.Difference `json:"difference"`
}
