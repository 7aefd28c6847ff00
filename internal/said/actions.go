package said

import (
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// actionsDone is each action as what somebody does, with a service after it or
// alone, in Russian.
var actionsDone = map[authz.Action]string{
	authz.See: "смотреть", authz.Restart: "перезапускать", authz.Dump: "снимать дампы потоков", authz.ViewDump: "смотреть дампы потоков",
	authz.Control: "останавливать запуски", authz.Approve: "одобрять запуски", authz.Freeze: "менять заморозки", authz.BreakGlass: "запускать в обход защиты",
	authz.ReviewGlass: "разбирать запуски в обход защиты", authz.Review: "рецензировать сценарии", authz.Audit: "читать журнал аудита", authz.Administer: "администрировать",
}

// actionsNamed is the same in English.
var actionsNamed = map[authz.Action]string{
	authz.See: "look around", authz.Restart: "restart", authz.Dump: "take thread dumps", authz.ViewDump: "look at thread dumps", authz.Control: "pause and abort runs", authz.Approve: "approve runs",
	authz.Freeze: "change freezes", authz.BreakGlass: "start runs past a freeze", authz.ReviewGlass: "look into runs past a freeze", authz.Review: "review scenarios", authz.Audit: "read the audit trail", authz.Administer: "administer",
}

// Action gives an action in words, and as rules name it. What is none stays as it
// is.
func Action(l Language, action string) string {
	words := actionsNamed[authz.Action(action)]
	if l == Russian {
		words = actionsDone[authz.Action(action)]
	}
	if words == "" || words == action {
		return restart.Escape(action)
	}
	return words + " (" + action + ")"
}

// Does gives an action as what somebody does, to be followed by a service: as
// rules name it, or in Russian. What is none stays as it is, not escaped.
func Does(l Language, action string) string {
	if words := actionsDone[authz.Action(action)]; l == Russian && words != "" {
		return words
	}
	return action
}

// actionTexts says of each action who may, and who may not.
var actionTexts = sayActions()

func sayActions() map[string]string {
	out := map[string]string{}
	for action, does := range actionsDone {
		name := string(action)
		out["%s may not "+name+": %s"] = "%s не может " + does + ": %w"
		out["%s may not "+name+" %s: %s"] = "%s не может " + does + " %s: %w"
		out["everybody may "+name] = does + " может каждый"
		out["owners may "+name] = does + " могут владельцы"
		out["nobody may "+name] = does + " не может никто"
	}
	return out
}
