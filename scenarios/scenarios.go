// Package scenarios holds the scenarios that ship with restartilka: reviewed by
// us, fit for any service that a host lists, so that the first real restart
// needs no scenario of one's own. A host still trusts them only where its own
// review says so; the agent's package lays them into scenarios.d.
package scenarios

import "embed"

// Files holds the scenarios, NAME.yaml each.
//
//go:embed *.yaml
var Files embed.FS
