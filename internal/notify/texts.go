package notify

import (
	"fmt"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// texts are all that messages say by themselves, in English and Russian.
var texts = map[string][2]string{
	"title.restart":     {"Restart of %s", "Перезапуск %s"},
	"title.thread-dump": {"Thread dump of %s", "Дамп потоков %s"},
	"title.custom":      {"%s on %s", "%s на %s"},
	"title.in":          {"%s in %s", "%s, окружение %s"},
	"title.rehearse":    {"Rehearsal: %s", "Репетиция: %s"},
	"title.undrain":     {"Back into the balancer: %s", "Возврат в балансировку: %s"},
	"title.scenario":    {"Scenario %s", "Сценарий %s"},
	"title.test":        {"A test message", "Проверочное сообщение"},
	"title.digest":      {"Restarts of the week %s – %s", "Перезапуски за неделю %s – %s"},
	"title.digest.for":  {"%s: services of %s", "%s: сервисы %s"},

	"state.run-started":        {"started", "начат"},
	"state.run-paused":         {"paused, a person is needed: %s", "на паузе, нужен человек: %s"},
	"state.run-resumed":        {"goes on", "продолжается"},
	"state.run-resumed.by":     {"goes on, says %s", "продолжается по решению %s"},
	"state.run-finished":       {"done", "выполнен"},
	"state.run-failed":         {"failed", "не выполнен"},
	"state.run-failed.aborted": {"aborted", "прерван"},
	"state.approval-requested": {"waits for an approval", "ждёт одобрения"},
	"state.approved":           {"approved by %s", "одобрил(а) %s"},
	"state.rejected":           {"rejected by %s", "отклонил(а) %s"},
	"state.withdrawn":          {"the request was taken back by %s", "запрос отозвал(а) %s"},
	"state.expired":            {"nobody has approved it in time", "вовремя не одобрил никто"},
	"state.waived":             {"started without the approval: %s broke the glass", "начат без одобрения: %s разбил(а) стекло"},
	"state.break-glass":        {"started past the safeguards by %s", "начат в обход защиты, начал(а) %s"},
	"state.run-scheduled":      {"planned for %s", "запланирован на %s"},
	"state.schedule-missed":    {"was planned, and did not start", "был запланирован и не начался"},
	"state.schedule-cancelled": {"was planned, and %s has cancelled it", "был запланирован, отменил(а) %s"},
	"state.recurrence":         {"restarts recur for one reason: %d within %d days", "перезапуски по одной причине повторяются: %d за %d дн."},
	"state.scenario-expires":   {"expires soon: its last day is %s", "скоро кончится: последний день – %s"},
	"state.test":               {"this receiver gets messages; %s has tried it", "этот получатель получает сообщения; проверил(а) %s"},
	"state.digest":             {"%d runs, %d of them failed or aborted", "запусков: %d, из них с ошибкой или прерваны: %d"},
	"state.other":              {"%s", "%s"},

	"fact.reason":  {"Reason", "Причина"},
	"fact.by":      {"Asked for by", "Запросил(а)"},
	"fact.ticket":  {"Ticket", "Задача"},
	"fact.hosts":   {"Hosts", "Хосты"},
	"fact.trouble": {"In trouble", "С ошибкой"},
	"fact.why":     {"Why", "Почему"},
	"fact.waived":  {"What stood in the way", "Что мешало"},
	"fact.who":     {"May approve", "Могут одобрить"},
	"fact.until":   {"Until", "До"},
	"fact.note":    {"Note", "Примечание"},
	"fact.owners":  {"Owners", "Владельцы"},
	"fact.ended":   {"Tasks", "Задания"},

	"link.run":      {"Look at the run", "Открыть запуск"},
	"link.planned":  {"Look at what is planned", "Открыть запланированное"},
	"link.scenario": {"Look at the scenario", "Открыть сценарий"},
	"link.server":   {"Open restartilka", "Открыть restartilka"},
	"link.digest":   {"Look at the statistics", "Открыть статистику"},

	"list.services":       {"By service", "По сервисам"},
	"list.services.one":   {"%s: runs %d, failed %d, did not help %d", "%s: запусков %d, с ошибкой %d, не помогли %d"},
	"list.again":          {"Did not help: restarted again within a day", "Не помогли: перезапущены снова в течение суток"},
	"list.again.one":      {"%s, %s, %s: %s", "%s, %s, %s: %s"},
	"list.reasons":        {"The same reason again", "Одна и та же причина снова"},
	"list.reasons.one":    {"%s, %d times: %s", "%s, раз: %d: %s"},
	"list.nothing":        {"Nothing was restarted.", "Ничего не перезапускали."},
	"list.happened":       {"What happened", "Что было"},
	"list.more":           {"and %d more", "и ещё %d"},
	"footer.why":          {"You get this because restartilka's settings name you, or the owners of %s.", "Вы получили это, потому что названы в настройках restartilka сами или как владелец %s."},
	"footer.why.settings": {"You get this because restartilka's settings name you.", "Вы получили это, потому что названы в настройках restartilka."},

	"cause.operator":      {"a person asked for it", "по просьбе человека"},
	"cause.failure":       {"a host failed", "ошибка на хосте"},
	"cause.unknown":       {"the outcome on a host is not known", "исход на хосте неизвестен"},
	"cause.hold":          {"held after the first batch, as the scenario says", "остановка после первой порции, как велит сценарий"},
	"cause.gate":          {"a gate does not let it touch another host", "проверка не пускает к следующему хосту"},
	"cause.freeze":        {"a freeze is in force", "действует заморозка"},
	"cause.audit_backlog": {"the remote log does not keep up", "удалённый журнал не успевает"},
	"cause.interrupted":   {"the server was interrupted", "работа сервера прервалась"},
	"cause.lock_lost":     {"the lock of the service was lost", "потеряна блокировка сервиса"},
	"cause.rights_lost":   {"the rights of the person have gone", "у человека больше нет прав"},

	"task.planned":       {"waiting", "ждут"},
	"task.intent_logged": {"starting", "начинаются"},
	"task.dispatching":   {"sending", "отправляются"},
	"task.accepted":      {"accepted", "приняты"},
	"task.running":       {"running", "идут"},
	"task.succeeded":     {"done", "готовы"},
	"task.failed":        {"failed", "с ошибкой"},
	"task.timed_out":     {"timed out", "не успели"},
	"task.cancelled":     {"cancelled", "отменены"},
	"task.refused":       {"refused", "отказано"},
	"task.unreachable":   {"unreachable", "недоступны"},
	"task.not_started":   {"not started", "не начаты"},
	"task.unknown":       {"unknown", "неизвестно"},
}

// say gives a text; a key that is not there is its own text, so that what a
// later version calls something is readable all the same.
func say(l said.Language, key string, args ...any) string {
	text, ok := texts[key]
	if !ok {
		return key
	}
	format := text[0]
	if l == said.Russian {
		format = text[1]
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// causeOf tells of a pause.
func causeOf(l said.Language, c restart.Cause) string {
	if _, known := texts["cause."+string(c)]; known {
		return say(l, "cause."+string(c))
	}
	return string(c)
}

// marks stand before what a message is about, so that a channel is read at a
// glance.
var marks = map[string]string{
	wire.EventRunStarted: "▶️", wire.EventRunPaused: "⏸", wire.EventRunResumed: "▶️", wire.EventRunFinished: "✅", wire.EventRunFailed: "❌",
	wire.EventApprovalRequested: "✋", wire.EventApprovalDecided: "☑️", wire.EventBreakGlass: "🚨", wire.EventScenarioExpires: "⌛", wire.EventDigest: "🗓", wire.EventRecurrence: "🔁",
	wire.EventRunScheduled: "📅", wire.EventScheduleMissed: "⏰", wire.EventScheduleCancelled: "🚫", wire.EventTest: "🔔",
}
