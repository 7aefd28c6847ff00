package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
)

// sight is a part of a run's hosts, by their tones; nil = all of them.
type sight struct {
	name  string
	tones []tone
}

// sights are the parts of a run's hosts that its page can be asked for, by
// ?hosts=; the first is what it shows unasked.
var sights = []sight{
	{name: "all"},
	{name: "look", tones: []tone{toneFail, toneUnknown}},
	{name: "hand", tones: []tone{toneNow}},
	{name: "done", tones: []tone{toneDone}},
}

// hostsView is which of a run's hosts are listed, and how to see the others. Its
// addresses are good for ever.
type hostsView struct {
	Live        bool
	Sights      []sightLink // nil where there are so few that all are seen at once
	Followed    string      // address of the list, where what belongs to it may change; "" = it does not
	Range       string      // which hosts of how many; "" = all
	Newer, More string      // addresses of the pages beside
}

// sightLink leads to a part of the hosts.
type sightLink struct {
	Name, Text, URL string
	Count           int
	Current         bool
}

// sightOf gives which part of a run's hosts is asked for, and which page of it,
// from 1. What is not known is all, from its beginning.
func sightOf(query url.Values) (name string, page int) {
	name = sights[0].name
	for _, s := range sights {
		if s.name == query.Get("hosts") {
			name = s.name
		}
	}
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	return name, page
}

// hostsAt gives the tasks that a page of a run lists, and how it leads to others.
func (b *board) hostsAt(run restart.Run, latest []restart.Task, query url.Values) ([]restart.Task, hostsView) {
	name, page := sightOf(query)
	view := hostsView{Sights: b.sights(run.ID, tallyOf(latest), name)}
	if i := slices.IndexFunc(sights, func(s sight) bool { return s.name == name }); sights[i].tones != nil {
		latest = slices.DeleteFunc(slices.Clone(latest), func(t restart.Task) bool { return !slices.Contains(sights[i].tones, toneOf(t)) })
	}
	pages := max((len(latest)+maxRows-1)/maxRows, 1)
	page = min(page, pages)
	if name != sights[0].name && !run.State.Final() {
		view.Followed = sightURL(run.ID, name, page)
	}
	if pages > 1 {
		view.Range = say(b.lang, "run.range", (page-1)*maxRows+1, min(page*maxRows, len(latest)), len(latest))
		if page > 1 {
			view.Newer = sightURL(run.ID, name, page-1)
		}
		if page < pages {
			view.More = sightURL(run.ID, name, page+1)
		}
	}
	return latest[(page-1)*maxRows : min(page*maxRows, len(latest))], view
}

// sights leads to each part of the hosts.
func (b *board) sights(run string, counts tally, current string) (out []sightLink) {
	if b.total <= fewHosts {
		return nil
	}
	for _, s := range sights {
		link := sightLink{Name: s.name, Text: say(b.lang, "sight."+s.name), URL: sightURL(run, s.name, 1), Count: b.total, Current: s.name == current}
		if s.tones != nil {
			link.Count = 0
			for _, t := range s.tones {
				link.Count += counts[t]
			}
		}
		out = append(out, link)
	}
	return out
}

// sightURL is the address of a page of a part of a run's hosts.
func sightURL(run, name string, page int) string {
	query := url.Values{}
	if name != sights[0].name {
		query.Set("hosts", name)
	}
	if page > 1 {
		query.Set("page", fmt.Sprint(page))
	}
	return withQuery("/runs/"+run, query)
}
