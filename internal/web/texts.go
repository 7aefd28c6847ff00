package web

import "maps"

// catalogue is every text of the pages, each file of texts with its own keys.
// Sentences that are made below the pages are told by package said.
var catalogue = merged(frameTexts, wordTexts, signInTexts, runTexts, reviewTexts, startTexts, laterTexts, adminTexts, historyTexts, dumpTexts, findingTexts, auditTexts, lockTexts, chatTexts)

func merged[T any](parts ...map[string]T) map[string]T {
	all := map[string]T{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}
