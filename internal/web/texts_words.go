package web

// wordTexts are the words for what several pages show: the states of hosts and
// the kinds of scenarios.
var wordTexts = map[string]text{
	"hoststate.unasked":     {"not asked", "не опрошен"},
	"hoststate.ready":       {"ready", "готов"},
	"hoststate.not":         {"not ready", "не готов"},
	"hoststate.no-route":    {"unreachable", "нет пути к хосту"},
	"hoststate.silent":      {"does not answer", "не отвечает"},
	"hoststate.closed":      {"no agent listens", "агент не слушает"},
	"hoststate.no-agent":    {"something else answers", "отвечает не агент"},
	"hoststate.certificate": {"certificate refused", "сертификат не принят"},
	"hoststate.clock":       {"clock is off", "часы расходятся"},
	"hoststate.version":     {"versions too far apart", "слишком разные версии"},
	"hoststate.problem":     {"would refuse tasks", "откажется от задач"},
	"hoststate.trust":       {"trusts other scenarios", "доверяет другим сценариям"},

	"via.cli":   {"from the command line", "из командной строки"},
	"via.web":   {"via web", "на сайте"},
	"via.api":   {"via API", "через API"},
	"via.chat":  {"via chat", "из чата"},
	"via.ssh":   {"over SSH", "по SSH"},
	"via.local": {"on the server itself", "на самом сервере"},

	"event.run-started":        {"starts of runs", "начало запуска"},
	"event.run-paused":         {"pauses", "пауза"},
	"event.run-resumed":        {"runs that go on", "продолжение"},
	"event.run-finished":       {"runs that are done", "успешный конец"},
	"event.run-failed":         {"runs that fail or are aborted", "неудача или прерывание"},
	"event.approval-requested": {"requests for an approval", "просьба об одобрении"},
	"event.approval-decided":   {"approvals and rejections", "решение об одобрении"},
	"event.break-glass":        {"starts past the safeguards", "запуск в обход защиты"},
	"event.scenario-expires":   {"scenarios that are about to expire", "скорый конец срока сценария"},
	"event.recurrence":         {"the same reason again and again", "одна и та же причина раз за разом"},
	"event.digest":             {"the digest of the week", "сводка за неделю"},
	"event.run-scheduled":      {"planned runs", "запланированный запуск"},
	"event.schedule-missed":    {"planned runs that do not start", "несостоявшийся запланированный запуск"},
	"event.schedule-cancelled": {"planned runs that are cancelled", "отмена запланированного запуска"},

	"kind.restart":     {"Restart", "Перезапуск"},
	"kind.thread-dump": {"Thread dump", "Дамп потоков"},
	"kind.custom":      {"Other work", "Другая работа"},
}
