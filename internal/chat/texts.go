package chat

import (
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/said"
)

// texts are all that the bot says by itself, in English and Russian; what others
// say of why and what to do, package said tells. Values go where %s and %d stand.
// A text that depends on a number has a form for each plural of its language,
// with "|" between them: one|other in English, one|few|many in Russian.
var texts = map[string][2]string{
	"title.restart":     {"Restart of %s", "Перезапуск %s"},
	"title.thread-dump": {"Thread dump of %s", "Дамп потоков %s"},
	"title.custom":      {"%s on %s", "%s на %s"},
	"title.undrain":     {"Undrain of %s", "Возврат в балансировку: %s"},
	"title.rehearse":    {"Rehearsal of %s", "Репетиция: %s"},
	"title.in":          {"%s in %s", "%s, окружение %s"},

	"plan.scenario": {"Scenario: %s", "Сценарий: %s"},
	"plan.reason":   {"Reason: %s", "Причина: %s"},
	"plan.ticket":   {"Ticket: %s", "Тикет: %s"},
	"plan.hosts":    {"Hosts: %d of group %s, %s", "Хосты: %d, группа %s, %s"},
	"plan.more":     {"and %d more", "и ещё %d"},
	"plan.out":      {"Left out: %s", "Не затронут: %s"},
	"plan.out.more": {"Left out: %d more", "Не затронуто ещё: %d"},
	"plan.warning":  {"Warning: %s", "Внимание: %s"},
	"plan.warnings": {"and %d more warning, on the page|and %d more warnings, on the page", "и ещё %d предупреждение, на странице|и ещё %d предупреждения, на странице|и ещё %d предупреждений, на странице"},
	"plan.life":     {"Good for two minutes, for %s alone.", "Действует две минуты, только для %s."},
	"plan.page":     {"In %s nothing is started from a chat: the page has the button.", "В окружении %s из чата ничего не запускают: кнопка — на странице."},
	"plan.opinion":  {"Asked for by %s. You say: %s", "Запросил(а) %s. Вы говорите: %s"},

	"batches.all":   {"all at once", "все сразу"},
	"batches.one":   {"one after another", "по одному"},
	"batches.sizes": {"in batches of %s", "порциями по %s"},

	"health.healthy":   {"healthy", "здоров"},
	"health.unhealthy": {"unhealthy", "нездоров"},

	"link.start":   {"Start it on the page", "Запустить на странице"},
	"link.approve": {"Approve it on the page", "Одобрить на странице"},
	"link.run":     {"The page of run %s", "Страница запуска %s"},
	"link.dumps":   {"The dumps of run %s", "Дампы запуска %s"},

	"button.start":   {"Start it", "Запустить"},
	"button.leave":   {"Leave it", "Не запускать"},
	"button.pause":   {"Pause", "Пауза"},
	"button.resume":  {"Resume", "Продолжить"},
	"button.abort":   {"Abort", "Прервать"},
	"button.approve": {"Approve", "Одобрить"},
	"button.reject":  {"Reject", "Отклонить"},

	"done.pause":   {"Pause asked for: run %s, by %s.", "Запрошена пауза: запуск %s, %s."},
	"done.abort":   {"Abort asked for: run %s, by %s.", "Запрошено прерывание: запуск %s, %s."},
	"done.resume":  {"Resumed: run %s, by %s.", "Продолжается: запуск %s, %s."},
	"done.start":   {"Started: run %s, by %s.", "Запущено: запуск %s, %s."},
	"done.approve": {"Approved: run %s, by %s.", "Одобрено: запуск %s, %s."},
	"done.reject":  {"Rejected: run %s, by %s.", "Отклонено: запуск %s, %s."},
	"unfollowed":   {"This message can't show how it goes on: see its page, or /status %s.", "Это сообщение не может показывать, как идут дела: смотрите его страницу или /status %s."},

	"undone.leave":   {"Not started: %s has left it.", "Не запущено: %s решил(а) не запускать."},
	"undone.start":   {"Not started.", "Не запущено."},
	"undone.approve": {"Not approved.", "Не одобрено."},
	"undone.reject":  {"Not rejected.", "Не отклонено."},

	"run.done": {"%d of %d host done|%d of %d hosts done", "готово %d из %d хоста|готово %d из %d хостов|готово %d из %d хостов"},
	"run.took": {"in %s", "за %s"},
	"run.more": {"and %d more like these", "и ещё таких же: %d"},
	"decided":  {"decided: %s", "решено: %s"},

	"asked.pause":       {"pause asked for", "запрошена пауза"},
	"asked.abort":       {"abort asked for", "запрошено прерывание"},
	"asked.force_abort": {"force abort asked for", "запрошено прерывание силой"},

	"dumps.page":    {"What they say is on the page: they may hold secrets.", "Что в них — на странице: там могут быть секреты."},
	"dumps.verdict": {"Verdict: %s", "Вердикт: %s"},
	"dumps.none":    {"No dump was taken.", "Ни одного дампа не снято."},
	"dumps.refused": {"You may not look at the dumps of this service.", "Вам нельзя смотреть дампы этого сервиса."},
	"dumps.away":    {"The dumps can't be looked at just now.", "Сейчас дампы посмотреть не получается."},

	"help": {`/restart SERVICE [ENVIRONMENT] REASON
/dump SERVICE [ENVIRONMENT] REASON
/runs [SERVICE]
/status RUN
/approvals
/approve RUN WHAT YOU HAVE LOOKED AT
/reject RUN WHAT STANDS IN THE WAY
/whoami
/link CODE (a code from your profile page; in a private chat)
/unlink

A restart or a dump shows its plan first, and starts when you press its button.
The reason is 10 characters at least.`, `/restart СЕРВИС [ОКРУЖЕНИЕ] ПРИЧИНА
/dump СЕРВИС [ОКРУЖЕНИЕ] ПРИЧИНА
/runs [СЕРВИС]
/status ЗАПУСК
/approvals
/approve ЗАПУСК ЧТО ВЫ ПРОВЕРИЛИ
/reject ЗАПУСК ЧТО МЕШАЕТ
/whoami
/link КОД (код со страницы вашего профиля; в личном чате)
/unlink

Перезапуск или дамп сначала показывает план и начинается, когда вы нажмёте его кнопку.
Причина — не короче 10 знаков.`},
	"linked":            {"You are %s here from now on. /help says what I do; /unlink ends it.", "Теперь вы здесь — %s. Что я умею: /help; отвязать: /unlink."},
	"unlinked":          {"This account is nobody's any more.", "Эта учётная запись больше ничья."},
	"whoami":            {"You are %s", "Вы — %s"},
	"whoami.teams":      {"teams: %s", "команды: %s"},
	"whoami.former":     {"teams that count again when you sign in on the page: %s", "команды, которые снова учтут, когда вы войдёте на странице: %s"},
	"runs.none":         {"There are no runs.", "Запусков нет."},
	"runs.none.of":      {"There are no runs of %s.", "Запусков %s нет."},
	"approvals.none":    {"Nothing waits for an approval.", "Одобрения ничто не ждёт."},
	"approvals.one":     {"%d host|%d hosts", "%d хост|%d хоста|%d хостов"},
	"approvals.till":    {"until %s", "до %s"},
	"approvals.planned": {"planned for %s: %s", "запланировано на %s: %s"},
	"approvals.later":   {"decide on that page, or with: restartilka planned approve %s", "решить можно на этой странице или командой: restartilka planned approve %s"},
	"approvals.do":      {"/approve %s WHAT YOU HAVE LOOKED AT", "/approve %s ЧТО ВЫ ПРОВЕРИЛИ"},
	"approvals.who":     {"may approve: %s", "могут одобрить: %s"},
	"failed":            {"That did not work, for a reason of my own: the server's log says which.", "Не получилось, и дело во мне: причина — в журнале сервера."},

	"state.draft":             {"draft", "черновик"},
	"state.awaiting_approval": {"awaiting approval", "ждёт одобрения"},
	"state.rejected":          {"rejected", "отклонён"},
	"state.queued":            {"queued", "в очереди"},
	"state.running":           {"running", "идёт"},
	"state.paused":            {"paused", "на паузе"},
	"state.completed":         {"completed", "выполнен"},
	"state.failed":            {"failed", "не выполнен"},
	"state.aborted":           {"aborted", "прерван"},

	"cause.operator":      {"operator", "по просьбе человека"},
	"cause.failure":       {"failure", "ошибка на хосте"},
	"cause.unknown":       {"unknown", "исход на хосте неизвестен"},
	"cause.hold":          {"hold", "остановка после первой порции"},
	"cause.gate":          {"gate", "слишком мало здоровых хостов"},
	"cause.freeze":        {"freeze", "действует заморозка"},
	"cause.audit_backlog": {"audit backlog", "удалённый журнал не успевает"},
	"cause.interrupted":   {"interrupted", "работа сервера прервалась"},
	"cause.lock_lost":     {"lock lost", "потеряна блокировка сервиса"},
	"cause.rights_lost":   {"rights lost", "у человека больше нет прав"},
	"cause.expired":       {"expired", "вовремя не одобрил никто"},

	"task.planned":       {"planned", "ждёт"},
	"task.intent_logged": {"intent logged", "начинается"},
	"task.dispatching":   {"dispatching", "отправляется"},
	"task.accepted":      {"accepted", "принято"},
	"task.running":       {"running", "идёт"},
	"task.succeeded":     {"succeeded", "готово"},
	"task.failed":        {"failed", "ошибка"},
	"task.timed_out":     {"timed out", "не успел"},
	"task.cancelled":     {"cancelled", "отменено"},
	"task.refused":       {"refused", "отказано"},
	"task.unreachable":   {"unreachable", "недоступен"},
	"task.not_started":   {"not started", "не начато"},
	"task.unknown":       {"unknown", "неизвестно"},

	"phase.evidence": {"evidence", "снимает свидетельства"},
	"phase.drain":    {"drain", "выводит из балансировки"},
	"phase.run":      {"run", "выполняет скрипт"},
	"phase.health":   {"health", "проверяет здоровье"},
	"phase.undrain":  {"undrain", "возвращает в балансировку"},

	"verdict.happened": {"happened", "выполнено"},
	"verdict.did-not":  {"did-not", "не выполнено"},
	"verdict.again":    {"again", "ещё раз"},
}

// formatOf gives an entry in a language; one that is not there is its own text.
func formatOf(l said.Language, key string) string {
	switch text, ok := texts[key]; {
	case !ok:
		return strings.ReplaceAll(escape(key), "%", "%%")
	case l == said.Russian:
		return text[1]
	default:
		return text[0]
	}
}

// say gives an entry with its values, which are harmless already.
func say(l said.Language, key string, values ...any) string {
	return fmt.Sprintf(formatOf(l, key), values...)
}

// count is say in the form that fits the number n.
func count(l said.Language, n int, key string, values ...any) string {
	forms := strings.Split(formatOf(l, key), "|")
	return fmt.Sprintf(forms[min(l.Plural(n), len(forms)-1)], values...)
}

// word gives the word for a name of a family, such as a state. A name that is not
// known, as of a later version, is its own word.
func word(l said.Language, family, name string) string {
	if _, known := texts[family+"."+name]; known {
		return say(l, family+"."+name)
	}
	return strings.ReplaceAll(escape(name), "_", " ")
}
