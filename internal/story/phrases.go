package story

import (
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Text is something to say, in both languages.
type Text struct{ English, Russian string }

// In gives the text in a language: "ru" is Russian, all else English.
func (t Text) In(language string) string {
	if language == "ru" {
		return t.Russian
	}
	return t.English
}

// phrases says of each action what it is. A test compares them with the actions
// that there are.
var phrases = map[audit.Action]Text{
	audit.RunRequested:              {"Run asked for", "Запрошен запуск"},
	audit.RunRefused:                {"Run refused", "В запуске отказано"},
	audit.RunApproved:               {"Run approved", "Запуск одобрен"},
	audit.RunRejected:               {"Run rejected", "Запуск отклонён"},
	audit.RunApprovalRequested:      {"The run waits for an approval", "Запуск ждёт одобрения"},
	audit.RunApprovalExpired:        {"Nobody approved the run in time", "Запуск не одобрили вовремя"},
	audit.RunApprovalWithdrawn:      {"The request for an approval was taken back", "Запрос на одобрение отозван"},
	audit.RunStarted:                {"Run started, with this list of hosts", "Запуск начат, с этим списком хостов"},
	audit.RunResumed:                {"Run resumed", "Запуск продолжен"},
	audit.RunPaused:                 {"Run paused", "Запуск приостановлен"},
	audit.RunPauseRequested:         {"Pause asked for", "Запрошена пауза"},
	audit.RunAbortRequested:         {"Abort asked for", "Запрошена отмена"},
	audit.RunEnded:                  {"Run over", "Запуск окончен"},
	audit.RunBreakGlass:             {"Glass broken: started past what would have held it back", "Обход защиты: запущено вопреки тому, что остановило бы"},
	audit.BreakGlassReviewed:        {"Broken glass reviewed", "Обход защиты разобран"},
	audit.ScheduleMade:              {"Run planned for later", "Запуск запланирован"},
	audit.ScheduleApprovalRequested: {"What is planned waits for an approval", "Запланированное ждёт одобрения"},
	audit.ScheduleApproved:          {"What is planned was approved", "Запланированное одобрено"},
	audit.ScheduleRejected:          {"What is planned was rejected", "Запланированное отклонено"},
	audit.ScheduleCancelled:         {"What was planned was cancelled", "Запланированное отменено"},
	audit.ScheduleMissed:            {"What was planned could not start in time", "Запланированное не началось вовремя"},
	audit.ScheduleRefused:           {"What was planned was not started: something was not as planned", "Запланированное не начато: что-то не так, как планировалось"},
	audit.CalendarTokenCreated:      {"Address of a calendar made", "Создан адрес календаря"},
	audit.CalendarTokenRevoked:      {"Address of a calendar ended", "Адрес календаря отозван"},
	audit.FreezeAdded:               {"Environments frozen", "Введена заморозка"},
	audit.FreezeRemoved:             {"Freeze lifted", "Заморозка снята"},
	audit.LockReleased:              {"A paused run's hold of its service was taken away", "С приостановленного запуска снята блокировка сервиса"},
	audit.LockBypassed:              {"Went on without a lock shared with others: it could not be asked", "Продолжено без общей с другими блокировки: её не удалось спросить"},
	audit.MessageTested:             {"A receiver of messages was tried", "Проверен получатель сообщений"},
	audit.MessageGivenUp:            {"A message was given up: its receiver never took it", "Сообщение не доставлено: получатель его так и не принял"},
	audit.RecurrenceNoted:           {"Restarted so often for one reason that a ticket is opened", "Перезапусков по одной причине столько, что открывается тикет"},
	audit.TicketOpened:              {"A ticket was opened about restarts for one reason", "Открыт тикет о перезапусках по одной причине"},
	audit.TaskIntent:                {"Intent: this host's agent is about to be called", "Намерение: сейчас будет вызван агент этого хоста"},
	audit.TaskOutcome:               {"Outcome on this host", "Итог на этом хосте"},
	audit.TaskLearned:               {"The host told later what became of its task", "Хост позже сообщил, чем кончилась задача"},
	audit.TaskSilenced:              {"Monitoring was told not to alert about this host meanwhile", "Мониторинг попросили пока не тревожить из-за этого хоста"},
	audit.TaskUnsilenced:            {"Monitoring alerts about this host again", "Мониторинг снова следит за этим хостом"},
	audit.TaskDecided:               {"A person settled what is not known of this host", "Человек решил, что считать случившимся на этом хосте"},
	audit.TaskLocal:                 {"Done on the host itself, without a server, as it tells", "Сделано на самом хосте, без сервера, с его слов"},
	audit.TaskTaken:                 {"The host took a server's task", "Хост принял задачу сервера"},
	audit.TaskRefused:               {"The host refused a server's task", "Хост отказался от задачи сервера"},
	audit.ScenarioLaid:              {"A signed version was laid on the host", "На хост положена подписанная версия"},
	audit.EnvelopeKeysLearned:       {"The host learned whose envelopes it obeys", "Хост узнал, чьим конвертам подчиняется"},
	audit.EvidenceTaken:             {"A server looked at a service on the host", "Сервер посмотрел на сервис на хосте"},
	audit.DumpTaken:                 {"Root took thread dumps on the host", "На хосте под root сняты дампы потоков"},
	audit.SerialForgotten:           {"Root let an older version of a scenario in", "Под root разрешена более старая версия сценария"},
	audit.HostChainBroken:           {"A host's own records are not those seen before", "Собственные записи хоста не те, что были раньше"},
	audit.TokenCreated:              {"Token made", "Создан токен"},
	audit.TokenRevoked:              {"Token ended", "Токен отозван"},
	audit.CertificateIssued:         {"Certificate issued to a host", "Хосту выдан сертификат"},
	audit.CertificateRevoked:        {"Certificate of a host revoked", "Сертификат хоста отозван"},
	audit.JoinTokenCreated:          {"Join token made", "Создан токен подключения хоста"},
	audit.JoinTokenRevoked:          {"Join token ended", "Токен подключения хоста отозван"},
	audit.HostJoin:                  {"A host joined with a join token", "Хост подключился по токену"},
	audit.HostsDiscovered:           {"Hosts were asked which services they have", "Хосты опрошены, какие на них сервисы"},
	audit.ScenarioProposed:          {"Version of a scenario proposed", "Предложена версия сценария"},
	audit.ScenarioSigned:            {"Signature laid beside a version", "К версии приложена подпись"},
	audit.ScenarioApproved:          {"Version of a scenario approved", "Версия сценария утверждена"},
	audit.ScenarioWithdrawn:         {"Version of a scenario ended", "Версия сценария отозвана"},
	audit.DumpViewed:                {"Thread dump looked at", "Просмотрен дамп потоков"},
	audit.DumpUploaded:              {"Thread dump put in from a file", "Загружен файл с дампом потоков"},
	audit.DumpExpired:               {"Old thread dumps dropped, as configured", "Старые дампы потоков удалены, как настроено"},
	audit.DumpDeleted:               {"Thread dump deleted", "Дамп потоков удалён"},
	audit.SignIn:                    {"Signed in", "Вход"},
	audit.SignInRefused:             {"Sign-in refused", "Во входе отказано"},
	audit.SignOut:                   {"Signed out", "Выход"},
	audit.SessionRevoked:            {"Session ended", "Сеанс завершён"},
	audit.KeyAdded:                  {"SSH key added", "Добавлен ключ SSH"},
	audit.KeyRemoved:                {"SSH key removed", "Ключ SSH удалён"},
	audit.LoginConfirmed:            {"Command line signed in", "Вход командной строки подтверждён"},
	audit.LoginRefused:              {"Sign-in of a command line refused", "Вход командной строки отклонён"},
	audit.UserCreated:               {"User made", "Создан пользователь"},
	audit.UserChanged:               {"User changed", "Пользователь изменён"},
	audit.UserDisabled:              {"User disabled", "Пользователь отключён"},
	audit.UserEnabled:               {"User enabled", "Пользователь включён"},
	audit.PasswordChanged:           {"Password changed", "Пароль изменён"},
	audit.ChatCodeMade:              {"Code made, to link an account of a chat", "Создан код для привязки чата"},
	audit.ChatCodeVoided:            {"Code ended: it was shown where others could read it", "Код отменён: его показали там, где читают другие"},
	audit.ChatLinked:                {"Account of a chat linked", "Привязан чат"},
	audit.ChatUnlinked:              {"Account of a chat unlinked", "Чат отвязан"},
	audit.ChatPressRefused:          {"Press of a button in a chat refused", "Отказано в нажатии кнопки в чате"},
	audit.ServerStarted:             {"Server started", "Сервер запущен"},
	audit.ServerStopped:             {"Server stopped", "Сервер остановлен"},
	audit.ServerBackedUp:            {"Backup of the database taken", "Снята резервная копия базы"},
	audit.ServerRestored:            {"Database restored from a backup", "База восстановлена из резервной копии"},
	audit.ConfigChanged:             {"Configuration changed", "Конфигурация изменена"},
	audit.RulesChanged:              {"Other rules of rights are in force", "Действуют другие правила доступа"},
	audit.RulesRefused:              {"A file of rules can't be used", "Файл правил не годится"},
	audit.AuditExported:             {"Records of the trail given out as a file", "Записи журнала выгружены в файл"},
	audit.AuditSealed:               {"Seal: the trail is whole up to here", "Печать: до этого места журнал цел"},
	audit.AuditKeyChanged:           {"The seals have another key from here on", "Дальше печати ставятся другим ключом"},
	audit.AuditExpired:              {"Old records were deleted here, as configured", "Старые записи здесь удалены, как настроено"},
}

// Phrase says what a record is about; of an action that only a later version
// knows, its name.
func Phrase(action audit.Action) Text {
	if t, ok := phrases[action]; ok {
		return t
	}
	name := restart.Escape(string(action))
	return Text{name, name}
}

// endings are actions whose outcome is how something ended, and no refusal.
var endings = []audit.Action{audit.TaskOutcome, audit.RunEnded, audit.RunPaused, audit.TaskLearned, audit.TaskDecided, audit.TaskLocal}

// refusals are the codes that an outcome has where something was asked for and
// not done.
var refusals = []restart.Code{
	restart.CodeInvalid, restart.CodeReason, restart.CodeNotFound, restart.CodeUnauthorised, restart.CodeForbidden, restart.CodeSignInAgain, restart.CodeTooMany,
	restart.CodeConflict, restart.CodePlanChanged, restart.CodeLocked, restart.CodeFrozen, restart.CodeTicket, restart.CodeNotReviewed, restart.CodeUnavailable, restart.CodeTooLarge,
	restart.CodeReplay, restart.CodeStaleEpoch, restart.CodeBadSignature, restart.CodeWrongHost, restart.CodeWrongGroup, restart.CodeUnknownService, restart.CodeNotInstalled,
	restart.CodeBusy, restart.CodeParam, restart.CodeDiskFull, restart.CodeStopping, restart.CodeTombstone, restart.CodeAuditBacklog, restart.CodeUnreachable,
	restart.CodeCertificate, restart.CodeRevoked, restart.CodeClockSkew,
}

// Refused tells whether what the record names was asked for and not done.
func Refused(r audit.Record) bool {
	switch r.Action {
	case audit.RunRefused, audit.SignInRefused, audit.LoginRefused, audit.TaskRefused, audit.RulesRefused, audit.ChatPressRefused:
		return true
	}
	return !slices.Contains(endings, r.Action) && slices.Contains(refusals, restart.Code(r.Outcome))
}
