package web

import "maps"

// catalogue is every text of the pages, each file of texts with its own keys.
// Sentences of package restart's errors, explanations and names are shown as
// they were recorded.
var catalogue = merged(frameTexts, signInTexts, runTexts, reviewTexts)

func merged(parts ...map[string]text) map[string]text {
	all := map[string]text{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}
