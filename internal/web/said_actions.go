package web

import "github.com/restartilka/restartilka/internal/authz"

// actionsSaid is each action as what somebody does, with a service after it or
// alone.
var actionsSaid = map[authz.Action]string{
	authz.See: "смотреть", authz.Restart: "перезапускать", authz.Dump: "снимать дампы потоков", authz.ViewDump: "смотреть дампы потоков",
	authz.Control: "останавливать запуски", authz.Approve: "одобрять запуски", authz.Freeze: "менять заморозки", authz.BreakGlass: "запускать в обход защиты",
	authz.ReviewGlass: "разбирать запуски в обход защиты", authz.Review: "рецензировать сценарии", authz.Audit: "читать журнал аудита", authz.Administer: "администрировать",
}

// saidActions says of each action who may, and who may not.
var saidActions = sayActions()

func sayActions() map[string]string {
	out := map[string]string{}
	for action, does := range actionsSaid {
		name := string(action)
		out["%s may not "+name+": %s"] = "%s не может " + does + ": %w"
		out["%s may not "+name+" %s: %s"] = "%s не может " + does + " %s: %w"
		out["everybody may "+name] = does + " может каждый"
		out["owners may "+name] = does + " могут владельцы"
		out["nobody may "+name] = does + " не может никто"
	}
	return out
}
